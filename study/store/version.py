"""The version of a store's files of results: it is in each of them, and another release's are not read."""

SCHEMA_VERSION = "2"
