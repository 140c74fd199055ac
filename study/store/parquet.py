"""Parquet files as bytes, and those of a bucket read column by column."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq

from study.errors import StoreRefused
from study.store import schema
from study.store.contents import reading
from study.store.files import File, Files
from study.store.filesystem import ATTEMPTS, is_cut_short


def to_bytes(table: pa.Table) -> bytes:
    """Make a Parquet file, whose columns each lie together."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=max(1, table.num_rows))
    return buffer.getvalue()


def sought(store: Files, file: str, coded: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a large file that nobody replaces, to read some columns; `coded` ones come as dictionaries.

    A bucket is asked for these columns only, where `opened` gets the whole file.
    """
    source = store.opened(file) if store.is_local else pa.PythonFile(_Sought(store, file), mode="r")
    return pq.ParquetFile(source, read_dictionary=list(coded), pre_buffer=not store.is_local)


def columns(store: Files, file: File, names: Sequence[str], coded: Sequence[str]) -> pa.Table:
    """Read some columns of a large part. Raises Damaged, OtherVersion."""
    with reading(file.path):
        part = sought(store, file.path, coded)
        schema.check_version(part.schema_arrow, file.path)
        return part.read(columns=list(names)).replace_schema_metadata(None)


class _Sought(io.RawIOBase):
    """A file of a bucket that is asked for in ranges, again where an answer breaks off.

    Reading one that is gone by then raises FileNotFoundError.
    """

    def __init__(self, store: Files, file: str) -> None:
        self._store, self._file, self._source, self._at = store, file, store.ranges(file), 0
        self._size = self._source.size()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        most = self._size - self._at
        data = self._range(most if size < 0 else min(size, most))
        self._at += len(data)
        return data

    def _range(self, size: int) -> bytes:
        for attempt in range(ATTEMPTS):
            try:
                with self._store.refusals():
                    return bytes(self._source.read_at(size, self._at))
            except StoreRefused:
                raise
            except OSError as error:
                if not is_cut_short(error) or attempt == ATTEMPTS - 1:
                    raise self._trouble(error) from error
        raise AssertionError("unreachable")

    def _trouble(self, error: OSError) -> OSError:
        """What to raise: that the file is gone, or what is by its number no damage of it."""
        with suppress(OSError):
            if not self._store.exists(self._file):
                return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._file)
        return OSError(errno.EIO, str(error))
