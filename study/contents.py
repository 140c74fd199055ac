"""What the bytes of a store's files say, or that they are damaged: nothing in here reads a store."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors import SafetensorError, deserialize

from study import schema

WRONG = (  # what parsers raise of bytes; pyarrow's an OSError too
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    pa.ArrowException,
    yaml.YAMLError,
    SafetensorError,
)


def is_whole(file: str, data: bytes) -> bool:
    """Whether a part has the checksum that its name ends in; one that an older release wrote states none."""
    stated = file.rpartition("/")[2].removesuffix(".parquet").split("-")[2:]
    return not stated or hashlib.sha256(data).hexdigest().startswith(stated[0])


def table(file: str, like: pa.Schema, data: bytes) -> pa.Table:
    """A Parquet file's rows, all of its columns read. Raises one of WRONG."""
    parquet = pq.ParquetFile(pa.BufferReader(data))
    schema.check_version(parquet.schema_arrow, file)
    rows = parquet.read()
    missing = set(like.names) - set(rows.column_names)
    if any(not like.field(name).nullable for name in missing):
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    return rows


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def members(data: bytes) -> set[str]:
    """The adapters of a checkpoint. Raises one of WRONG."""
    deserialize(data)  # type: ignore[no-untyped-call]
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return set(json.loads(header["__metadata__"]["state"])["members"])
