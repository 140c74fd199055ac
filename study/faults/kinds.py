"""The kinds of failure, by the words that records, messages and tables use: docs/failures.md says what each means.

A kind decides how often a unit is tried again, and what a later run does about it.
"""

from __future__ import annotations

from typing import Final, Literal

NODE_LOST: Final = "node_lost"
KILLED_FOR_MEMORY: Final = "killed_for_memory"
HUNG: Final = "hung"
OUT_OF_MEMORY: Final = "out_of_memory"
TRANSIENT: Final = "transient"
NO_SPACE: Final = "no_space"
STORE_REFUSED: Final = "store_refused"
NAN: Final = "nan"
BAD_DATA: Final = "bad_data"
BUG: Final = "bug"
START: Final = "start"

FailureKind = Literal[
    "node_lost",
    "killed_for_memory",
    "hung",
    "out_of_memory",
    "transient",
    "no_space",
    "store_refused",
    "nan",
    "bad_data",
    "bug",
    "start",
]

STOPS: Final[frozenset[str]] = frozenset({NO_SPACE, STORE_REFUSED})  # a person has to mend it before anything goes on
LASTING: Final[frozenset[str]] = frozenset({NAN, BAD_DATA, BUG})  # the next run would see the same
