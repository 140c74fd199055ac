"""Indexes: what many small files of a store say, in one file, so that reading them all stays cheap on a bucket.

An index is a cache that may be missing, old or deleted at any time. A listing of the store says which files there are;
a row of the index counts only while the file that it was read from is listed with the same size and time.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from study.files import File

STAMP = "_file"
WORTH_IT = 64  # files outside the index from which on it is written anew


@dataclass(frozen=True)
class Index:
    """Rows of the files of one kind, with the stamp of each row's file. `data` is the index as it lies in the store."""

    data: bytes | None

    def split(self, files: Sequence[File], columns: Sequence[str]) -> tuple[list[pa.Table], list[File]]:
        """The rows it holds of these files, and the files it does not know."""
        if self.data is None:
            return [], list(files)
        source = pq.ParquetFile(pa.BufferReader(self.data))
        known = {name for name in columns if name in source.schema_arrow.names}
        table = source.read(columns=[STAMP, *known])
        stamps = pa.array([file.stamp for file in files], pa.string())
        kept = table.filter(pc.is_in(table.column(STAMP), value_set=stamps))
        there = set(kept.column(STAMP).unique().to_pylist())
        rows = kept.select([name for name in columns if name in known]).replace_schema_metadata(None)
        return [rows], [file for file in files if file.stamp not in there]

    def renewed(self, files: Sequence[File], read: Callable[[Sequence[File]], Sequence[pa.Table]]) -> bytes | None:
        """The index of these files as it should be written; None while few of them are missing from this one."""
        old = pq.read_table(pa.BufferReader(self.data)) if self.data is not None else None
        known = set(old.column(STAMP).unique().to_pylist()) if old is not None else set()
        new = [file for file in files if file.stamp not in known]
        if len(new) <= WORTH_IT:
            return None
        parts = []
        if old is not None:
            stamps = pa.array([file.stamp for file in files], pa.string())
            parts.append(old.filter(pc.is_in(old.column(STAMP), value_set=stamps)))
        for file, table in zip(new, read(new), strict=True):
            parts.append(table.append_column(STAMP, pa.array([file.stamp] * table.num_rows, pa.string())))
        buffer = io.BytesIO()
        pq.write_table(pa.concat_tables(parts, promote_options="default"), buffer, compression="zstd")
        return buffer.getvalue()
