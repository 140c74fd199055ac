"""Indexes: the rows of many small files of a store in a few big ones, so that reading them all stays cheap.

An index is a folder of segments, Parquet files that are written once; each holds the rows of some files, one file after
the other. Its name ends in the first 16 hex digits of its sha256, for `study.check`. An index is a cache that may be
missing, old or deleted at any time: a listing of the store says which files there are, and a file's rows count only
while it is listed with the size and time that it had when they were read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from study.store.files import File, Files
from study.store.layout import new_part
from study.store.parquet import sought, to_bytes

STAMPS, ROWS = b"files", b"rows"  # in a segment's metadata: a line each, what files it holds, how many rows of each
WORTH_IT = 64  # files outside the index from which on a segment is written
MOST_FILES = 10_000  # in a segment
BATCH = 1 << 18  # rows


@dataclass(frozen=True)
class _Segment:
    file: str
    parquet: pq.ParquetFile
    held: Sequence[str]  # stamps
    rows: NDArray[np.int64]  # of each of them
    kept: Sequence[bool]  # whether they count

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if not any(self.kept):
            return
        there = set(self.parquet.schema.names)
        mask = None if all(self.kept) else np.repeat(self.kept, self.rows)
        at = 0
        for batch in self.parquet.iter_batches(BATCH, columns=[name for name in columns if name in there]):
            rows = batch.num_rows
            yield batch if mask is None else batch.filter(pa.array(mask[at : at + rows]))
            at += rows

    def parts(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield stamp and rows of each file whose rows count."""
        rows, at = self.parquet.read(), 0
        for stamp, count, kept in zip(self.held, self.rows.tolist(), self.kept, strict=True):
            if kept:
                yield stamp, rows.slice(at, count)
            at += count


class Index:
    """The index of one kind of file, in a folder of their store."""

    def __init__(self, store: Files, folder: str) -> None:
        self._store, self._folder = store, folder

    def split(
        self, files: Sequence[File], columns: Sequence[str], coded: Sequence[str] = ()
    ) -> tuple[Iterator[pa.RecordBatch], list[File]]:
        """Give the rows that it holds of these files, and the files that it lacks. `coded` columns are dictionaries."""
        segments, missing = self._segments(files, coded) if files else ([], [])
        return (batch for segment in segments for batch in segment.batches(columns)), missing

    def renew(self, files: Sequence[File], read: Callable[[Sequence[File]], Sequence[pa.Table]]) -> None:
        """Write segments of the files that are in none, if there are many; a segment with room becomes part of them.

        A segment none of whose files is there any more goes.
        """
        segments, missing = self._segments(files, ())
        for segment in segments:
            if not any(segment.kept):
                self._store.delete(segment.file)
        if len(missing) <= WORTH_IT:
            return
        segments = [segment for segment in segments if any(segment.kept)]
        small = [segment for segment in segments if sum(segment.kept) < MOST_FILES]
        parts = [part for segment in small for part in segment.parts()]
        while parts or missing:
            some = missing[: max(0, MOST_FILES - len(parts))]
            missing = missing[len(some) :]
            parts += [(file.stamp, rows) for file, rows in zip(some, read(some), strict=True)]
            data = _segment(parts[:MOST_FILES])
            self._store.write(new_part(self._folder, data), data)
            parts = parts[MOST_FILES:]
        for segment in small:
            self._store.delete(segment.file)

    def _segments(self, files: Sequence[File], coded: Sequence[str]) -> tuple[list[_Segment], list[File]]:
        """Open all segments, and find the files that are in none. A file's rows count in the first segment alone."""
        missing = {file.stamp: file for file in files}
        names = self._store.files(self._folder, ".parquet")
        segments = []
        for name, opened in zip(names, self._store.each(partial(self._opened, coded), names), strict=True):
            if opened is not None:
                kept = [missing.pop(stamp, None) is not None for stamp in opened[1]]
                segments.append(_Segment(name, *opened, kept))
        return segments, list(missing.values())

    def _opened(self, coded: Sequence[str], name: str) -> tuple[pq.ParquetFile, list[str], NDArray[np.int64]] | None:
        """Open a segment, and say what it holds; None where it is damaged, or a newer one has taken its place."""
        try:
            parquet = sought(self._store, name, coded)
            told = parquet.metadata.metadata
            return parquet, told[STAMPS].decode().split("\n"), np.array(told[ROWS].split(b"\n"), dtype=np.int64)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        except OSError as error:
            if error.errno is not None:
                raise
            return None  # pyarrow's, of bytes that are no footer


def _segment(parts: Sequence[tuple[str, pa.Table]]) -> bytes:
    metadata = {STAMPS: "\n".join(stamp for stamp, _ in parts), ROWS: "\n".join(str(len(rows)) for _, rows in parts)}
    table = pa.concat_tables([rows.replace_schema_metadata(None) for _, rows in parts], promote_options="default")
    return to_bytes(table.replace_schema_metadata(metadata))
