"""The store: everything a study produced, under one URI (local path, s3://, gs://).

Invariant: a unit is done when its record (adapter) or its score row is there, and that is written last and in one
step (a temporary name and a rename on local disks, a single put on object stores). Writers never share a file.

Requests are what a bucket costs: what is one file per unit is also kept in an index (study.index), and what can be
told from a listing is not read.
"""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from study import schema
from study.files import File, Files
from study.index import Index

ADAPTERS, ITEMS, SCORES, FAILURES, LOGS = "adapters", "results/items", "results/scores", "failures", "logs"
STUDY_FILE, GRID_FILE, RECORD_FILE = "study.yaml", "grid.parquet", "record.json"
SCORES_INDEX, RECORDS_INDEX = f"index/scores-{schema.SCHEMA_VERSION}.parquet", "index/records.parquet"

DoneScore = tuple[str, str, str | None, str]  # score_id, model, adapter_id (None: the base), target as task/language


def done_in(batch: pa.RecordBatch) -> Iterator[DoneScore]:
    """The rows of a batch of score_id, model, adapter_id, target_task and target_language."""
    score_id, model, adapter_id, task, language = (column.to_pylist() for column in batch.columns)
    targets = (f"{a}/{b}" for a, b in zip(task, language, strict=True))
    return zip(score_id, model, adapter_id, targets, strict=True)


class Store(Files):
    """What the files of one study mean."""

    # -- study file and grid -----------------------------------------------------------------------------------------

    def write_grid(self, tables: Iterable[pa.Table]) -> None:
        """Record which score units the current config asks for, as tables of study.schema.GRID."""
        buffer = io.BytesIO()
        with pq.ParquetWriter(buffer, schema.GRID, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table)
        self.write(GRID_FILE, buffer.getvalue())

    def read_grid(self) -> pa.Table | None:
        """The current config's score units; None when the store has none yet."""
        return self._read_parquet([GRID_FILE], schema.GRID) if self.exists(GRID_FILE) else None

    # -- adapters ----------------------------------------------------------------------------------------------------

    @staticmethod
    def adapter_folder(model: str, task: str, language: str, seed: int, adapter_id: str) -> str:
        return f"{ADAPTERS}/{model}/{task}/{language}/seed{seed}-{adapter_id}"

    def put_adapter(self, folder: str, local: Path, record: dict[str, Any]) -> None:
        """Copy an adapter's files from a local folder into the store; last its record, with their checksums."""
        files = {}
        for file in sorted(p for p in local.rglob("*") if p.is_file()):
            name, data = file.relative_to(local).as_posix(), file.read_bytes()
            self.write(f"{folder}/{name}", data)
            files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        text = json.dumps({**record, "files": files}, indent=1, sort_keys=True, allow_nan=False)
        self.write(f"{folder}/{RECORD_FILE}", text.encode())

    def fetch_adapter(self, folder: str, scratch: Path) -> Path:
        """A local folder with the adapter's files: the store's own when it is local, else a copy under `scratch`."""
        if self.is_local:
            return Path(self.path(folder))
        local = scratch / folder
        local.mkdir(parents=True, exist_ok=True)
        for relative in self.files(folder, ""):
            (local / relative.rsplit("/", 1)[1]).write_bytes(self.read(relative))
        return local

    def records(self) -> dict[str, dict[str, Any]]:
        """Every finished adapter's record by adapter_id, each with its `folder` in the store."""
        files = self.listed(ADAPTERS, f"/{RECORD_FILE}", recursive=True)
        tables, missing = self._index(RECORDS_INDEX).split(files, ["folder", "record"])
        found: dict[str, dict[str, Any]] = {}
        for row in (row for table in [*tables, *self._record_rows(missing)] for row in table.to_pylist()):
            record = json.loads(row["record"])
            found[record["adapter_id"]] = {**record, "folder": row["folder"]}
        return found

    def _record_rows(self, files: Sequence[File]) -> list[pa.Table]:
        texts = self.each(lambda file: self.read(file.path).decode(), files)
        folders = [file.path.rsplit("/", 1)[0] for file in files]
        return [pa.table({"folder": [f], "record": [text]}) for f, text in zip(folders, texts, strict=True)]

    def trained(self) -> dict[str, str]:
        """The model of every finished adapter, by adapter_id; from the names of the files alone."""
        names = (relative.split("/") for relative in self.files(ADAPTERS, f"/{RECORD_FILE}", recursive=True))
        return {name[-2].rpartition("-")[2]: name[1] for name in names}

    # -- results -----------------------------------------------------------------------------------------------------

    def append(self, items: list[dict[str, object]], scores: list[dict[str, object]]) -> None:
        """Add result rows as new part files: the items first, then the scores that say they are complete."""
        if items:
            self.add_part(ITEMS, schema.table(schema.ITEMS, items))
        if scores:
            self.add_part(SCORES, schema.table(schema.SCORES, scores))

    def add_part(self, folder: str, rows: pa.Table) -> None:
        """Add a part file to the items or scores. Its name ends in the first 16 hex digits of its sha256."""
        data = _parquet(rows)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}-{hashlib.sha256(data).hexdigest()[:16]}"
        self.write(f"{folder}/{name}.parquet", data)

    def scores(self, columns: Iterable[str] | None = None) -> pa.Table:
        """All score rows (a unit that ran twice appears twice: de-duplicate on score_id and metric)."""
        files, names = self.listed(SCORES, ".parquet"), list(columns or schema.SCORES.names)
        known, missing = self._index(SCORES_INDEX).split(files, names) if files else ([], [])
        parts = [_empty(schema.SCORES, names), *known, *self._parts([file.path for file in missing], names)]
        return pa.concat_tables(parts, promote_options="default")

    def items(self, columns: Iterable[str] | None = None) -> pa.Table:
        """All item rows (de-duplicate on score_id and doc_id)."""
        return self._read_parquet(self.files(ITEMS, ".parquet"), schema.ITEMS, columns)

    def done_scores(self) -> set[str]:
        """score_ids whose score rows are there."""
        return set(self.scores(["score_id"]).column("score_id").to_pylist())

    def write_indexes(self) -> None:
        """Bring the indexes up to date where many files are not in them. Readers need none of this."""
        scores = self.listed(SCORES, ".parquet")
        self._renew(SCORES_INDEX, scores, lambda new: list(self._parts([f.path for f in new], schema.SCORES.names)))
        self._renew(RECORDS_INDEX, self.listed(ADAPTERS, f"/{RECORD_FILE}", recursive=True), self._record_rows)

    def _index(self, name: str) -> Index:
        try:
            return Index(self.read(name))
        except FileNotFoundError:
            return Index(None)

    def _renew(self, name: str, files: list[File], read: Callable[[Sequence[File]], list[pa.Table]]) -> None:
        renewed = self._index(name).renewed(files, read)
        if renewed is not None:
            self.write(name, renewed)

    def scored(self) -> Iterator[DoneScore]:
        """Every finished score and what it is of; each once or more."""
        table = self.scores(["score_id", "model", "adapter_id", "target_task", "target_language"])
        for batch in table.to_batches(max_chunksize=65536):
            yield from done_in(batch)

    # -- failures ----------------------------------------------------------------------------------------------------

    def put_failure(self, unit_id: str, failure: dict[str, Any]) -> None:
        self.write(f"{FAILURES}/{unit_id}.json", json.dumps(failure, indent=1, sort_keys=True, default=str).encode())

    def clear_failure(self, unit_id: str) -> None:
        self.delete(f"{FAILURES}/{unit_id}.json")

    def failures(self) -> dict[str, dict[str, Any]]:
        """Recorded failures by unit id."""
        names = self.files(FAILURES, ".json")
        texts = self.each(self.read, names)
        return {_stem(name): json.loads(text) for name, text in zip(names, texts, strict=True)}

    def failed(self) -> set[str]:
        """Unit ids with a recorded failure, from a listing alone."""
        return {_stem(name) for name in self.files(FAILURES, ".json")}

    # -- nodes of the cluster ----------------------------------------------------------------------------------------

    def exclude_node(self, node: str) -> None:
        """Record that the study uses a node no more; deleting the file takes it back."""
        text = json.dumps({"node": node, "excluded_at": datetime.now(UTC).isoformat(timespec="seconds")})
        self.write(f"{LOGS}/excluded/{node}.json", text.encode())

    def excluded_nodes(self) -> list[str]:
        return [name.rsplit("/", 1)[1].removesuffix(".json") for name in self.files(f"{LOGS}/excluded", ".json")]

    # -- parquet -----------------------------------------------------------------------------------------------------

    def _read_parquet(self, files: list[str], like: pa.Schema, columns: Iterable[str] | None = None) -> pa.Table:
        names = list(columns) if columns is not None else like.names
        parts = [_empty(like, names), *self._parts(files, names)]  # a column that came later is null in older files
        return pa.concat_tables(parts, promote_options="default")

    def parquet_files(self, files: Iterable[str]) -> Iterator[pq.ParquetFile]:
        """Parquet files of the store, opened one after the other. Raises ValueError for another schema version."""
        return self.each(self._opened, files)

    def _opened(self, relative: str) -> pq.ParquetFile:
        source = self.fs.open_input_file(self.path(relative)) if self.is_local else pa.BufferReader(self.read(relative))
        part = pq.ParquetFile(source)  # from a bucket it comes whole: that is one request, not one per column
        schema.check_version(part.schema_arrow, relative)
        return part

    def _parts(self, files: Iterable[str], names: list[str]) -> Iterator[pa.Table]:
        for part in self.parquet_files(files):
            yield part.read(columns=names).replace_schema_metadata(None)


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _empty(like: pa.Schema, names: list[str]) -> pa.Table:
    fields = [like.field(name) for name in names]
    return pa.schema(fields).empty_table()


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].removesuffix(".json")
