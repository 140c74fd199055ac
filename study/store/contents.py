"""What the bytes of a store's files say, or that they are damaged: nothing in here reads a store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors import SafetensorError, deserialize

from study.store import schema
from study.store.layout import is_as_named


class Damaged(Exception):
    """The bytes are not what their file should hold; the message says why, in a line."""


NO_PARQUET = (OSError, ValueError, pa.ArrowNotImplementedError)  # what pyarrow raises of such bytes; no want of memory
TRAINED = ("adapter_id", "model", "source", "seconds", "tokens", "examples", "world_size", "device", "recipe", "files")
FAILED = ("unit", "kind", "attempts", "message")


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
def _as_damaged(*errors: type[Exception]) -> Iterator[None]:
    """What a parser raises of bytes that are not its own."""
    try:
        yield
    except errors as error:
        raise Damaged(f"{type(error).__name__}: {error}".partition("\n")[0]) from error


def check_whole(file: str, data: bytes) -> None:
    """Raise Damaged unless a part, or a segment of an index, has the checksum that its name ends in."""
    if not is_as_named(file, data):
        raise Damaged("its content is not what its name states")


def parquet(data: bytes) -> pa.Table:
    """A Parquet file's rows, all of its columns read. Raises Damaged."""
    with _as_damaged(*NO_PARQUET):  # an OSError too, though no file is read
        return pq.ParquetFile(pa.BufferReader(data)).read()


def table(file: str, like: pa.Schema, data: bytes) -> pa.Table:
    """The same of a file with a schema. Raises Damaged, and schema.OtherVersion."""
    with _as_damaged(*NO_PARQUET):
        stated = pq.read_schema(pa.BufferReader(data))
    schema.check_version(stated, file)
    rows = parquet(data)
    missing = set(like.names) - set(rows.column_names)
    if any(not like.field(name).nullable for name in missing):
        raise Damaged(f"it lacks {', '.join(sorted(missing))}")
    return rows


def segment(file: str, data: bytes) -> None:
    """Raise Damaged unless this is a whole segment of an index."""
    check_whole(file, data)
    parquet(data)


def study(data: bytes) -> dict[str, Any]:
    """What study.yaml says: a mapping with a `config`, and what readers need of models and adapters. Raises Damaged."""
    with _as_damaged(yaml.YAMLError, ValueError):
        read = yaml.safe_load(data)
    if not isinstance(read, dict) or not isinstance(read.get("config"), dict):
        raise Damaged("it states no config")
    for entries, keys in (("models", ("name", "params")), ("adapters", ("name", "adapter_id"))):
        with _as_damaged(KeyError, TypeError):
            _ = [entry[key] for entry in read.get(entries, ()) for key in keys]
    return read


def mapping(data: bytes | str) -> dict[str, Any]:
    """What a JSON file says. Raises Damaged."""
    with _as_damaged(ValueError):
        read = json.loads(data)
    if not isinstance(read, dict):
        raise Damaged(f"it holds a {type(read).__name__}, not a mapping")
    return read


def record(data: bytes | str) -> tuple[dict[str, Any], str, dict[str, str]]:
    """An adapter's record, its adapter_id, and the checksums that it states of its files. Raises Damaged."""
    read = mapping(data)
    _need(read, TRAINED)
    with _as_damaged(KeyError, TypeError, ValueError):
        files = dict(read["files"])
        return read, str(read["adapter_id"]), {name: str(files[name]["sha256"]) for name in files}


def failure(data: bytes) -> dict[str, Any]:
    """A record of a failure. Raises Damaged."""
    read = mapping(data)
    _need(read, FAILED)
    return read


def _need(read: dict[str, Any], keys: Sequence[str]) -> None:
    if missing := [key for key in keys if key not in read]:
        raise Damaged(f"it states no {', '.join(missing)}")


def weights(data: bytes) -> None:
    """Raise Damaged unless these are whole safetensors."""
    with _as_damaged(SafetensorError):
        deserialize(data)  # type: ignore[no-untyped-call]


def members(data: bytes) -> set[str]:
    """The adapters of a checkpoint. Raises Damaged."""
    weights(data)
    length = int.from_bytes(data[:8], "little")
    with _as_damaged(KeyError, TypeError, ValueError):
        return set(json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["state"])["members"])
