"""Parsers of a store's files, which find what is damaged: they take bytes, and nothing in here reads a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, deserialize

from study.bounded import read_json, read_yaml
from study.store import schema
from study.store.layout import is_as_named
from study.store.safetensors_header import header_of


class Damaged(Exception):
    """The bytes are not what their file should hold; the message says why, in a line."""


NO_PARQUET = (OSError, ValueError, pa.ArrowNotImplementedError)  # what pyarrow raises of such bytes; no want of memory


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Raise Damaged, naming the file, for bytes that are not its own. Trouble of a disk has an errno, and stays."""
    try:
        yield
    except schema.OtherVersion:
        raise
    except Damaged as error:
        raise Damaged(f"{file}: {error}") from error
    except NO_PARQUET as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Damaged(f"{file}: {type(error).__name__}: {error}".partition("\n")[0]) from error


@contextmanager
def as_damaged(*errors: type[Exception]) -> Iterator[None]:
    """Raise Damaged for what a parser raises of bytes that are not its own."""
    try:
        yield
    except errors as error:
        raise Damaged(f"{type(error).__name__}: {error}".partition("\n")[0]) from error


def check_whole(file: str, data: bytes) -> None:
    """Raise Damaged unless a part, or a segment of an index, has the checksum that its name ends in."""
    if not is_as_named(file, data):
        raise Damaged("its content is not what its name states")


def parquet(data: bytes) -> pa.Table:
    """Read all columns of a Parquet file. Raises Damaged."""
    with as_damaged(*NO_PARQUET):  # an OSError too, though no file is read
        return pq.ParquetFile(pa.BufferReader(data)).read()


def table(file: str, like: pa.Schema, data: bytes) -> pa.Table:
    """Read all columns of a file that has a schema. Raises Damaged, and schema.OtherVersion."""
    with as_damaged(*NO_PARQUET):
        stated = pq.read_schema(pa.BufferReader(data))
    schema.check_version(stated, file)
    rows = parquet(data)
    missing = set(like.names) - set(rows.column_names)
    if any(not like.field(name).nullable for name in missing):
        raise Damaged(f"it lacks {', '.join(sorted(missing))}")
    return rows


def listed(row: pa.Table, name: str, like: pa.Schema) -> pa.Table:
    """Take the table that a row holds as a list; nulls in columns that an older release did not write."""
    found = pa.Table.from_struct_array(row.column(name).combine_chunks().flatten())
    later = schema.empty(like, [field.name for field in like if field.nullable])
    return pa.concat_tables([found, later], promote_options="default").select(like.names)


def is_kind(like: pa.Schema, data: bytes) -> bool:
    """Whether these bytes state to be a file of a schema, of whatever version."""
    try:
        stated = pq.read_schema(pa.BufferReader(data)).metadata or {}
    except NO_PARQUET:
        return False
    return bool(stated.get(b"kind") == like.metadata[b"kind"])


def segment(file: str, data: bytes) -> None:
    """Raise Damaged unless this is a whole segment of an index."""
    check_whole(file, data)
    parquet(data)


def yaml_in(data: bytes) -> object:
    """Parse YAML. Raises Damaged."""
    with as_damaged(ValueError):
        return read_yaml(data)


def mapping(data: bytes | str) -> dict[str, Any]:
    """Parse a JSON object. Raises Damaged."""
    with as_damaged(ValueError):
        read = read_json(data)
    if not isinstance(read, dict):
        raise Damaged(f"it holds a {type(read).__name__}, not a mapping")
    return read


def weights(data: bytes) -> None:
    """Raise Damaged unless these are whole safetensors."""
    with as_damaged(SafetensorError):
        deserialize(data)  # type: ignore[no-untyped-call]


def members(data: bytes) -> set[str]:
    """Name the adapters of a checkpoint. Raises Damaged."""
    weights(data)
    with as_damaged(KeyError, TypeError, ValueError):
        return set(mapping(header_of(data).metadata["state"])["members"])
