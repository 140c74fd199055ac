"""The store: everything a study produced, under one URI (local path, s3://, gs://).

Invariant: a unit is done when its record (adapter) or its score row is there, and that is written last and in one
step (a temporary name and a rename on local disks, a single put on object stores). Writers never share a file.

Requests are what a bucket costs: what is one file per unit is also kept in an index (study.store.index), and what can
be told from a listing is not read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from study.store import contents, layout, schema
from study.store.contents import reading
from study.store.files import File, Files
from study.store.index import Index
from study.store.parquet import columns, to_bytes
from study.store.parts import by_size, current, undisturbed
from study.store.records import AdapterRecord, FailureRecord, StoredFile

SCORED = ("model", "subject_id", "target_id")


class Store(Files):
    """The files of one study by their meaning: adapters, results, failures."""

    # -- study file and grid -----------------------------------------------------------------------------------------

    def write_grid(self, subjects: pa.Table, targets: pa.Table, **more: pa.Table | Sequence[str] | None) -> None:
        """Record what the config asks for: tables of study.store.schema.SUBJECTS and TARGETS.

        `more` are other columns of GRID by their names: tables of COMPOSITIONS, RECIPES and STARTS, and the `held_out`.
        """
        given = {"subjects": subjects, "targets": targets, **more}
        rows = {name: one.to_pylist() if isinstance(one, pa.Table) else list(one or ()) for name, one in given.items()}
        lists = [pa.array([rows.pop(field.name, [])], field.type) for field in schema.GRID]
        if rows:
            raise ValueError(f"a grid has no {', '.join(rows)}")
        self.write(layout.GRID_FILE, to_bytes(pa.table(lists, schema=schema.GRID)))

    def read_grid(self) -> tuple[pa.Table, pa.Table] | None:
        """Read the current config's subjects and targets; None without a grid. Raises Damaged, OtherVersion."""
        if not self.exists(layout.GRID_FILE):
            return None
        data = self.read(layout.GRID_FILE)
        with reading(layout.GRID_FILE):
            row = contents.table(layout.GRID_FILE, schema.GRID, data)
        return contents.listed(row, "subjects", schema.SUBJECTS), contents.listed(row, "targets", schema.TARGETS)

    # -- adapters ----------------------------------------------------------------------------------------------------

    def put_adapter(self, folder: str, local: Path, record: AdapterRecord) -> None:
        """Copy an adapter's files from a local folder into the store; last its record, with their checksums."""
        files = self.put_files(folder, local)
        text = json.dumps(replace(record, files=files).to_json(), indent=1, sort_keys=True, allow_nan=False)
        self.write(f"{folder}/{layout.RECORD_FILE}", text.encode())

    def put_files(self, folder: str, local: Path) -> dict[str, StoredFile]:
        """Copy the files of a local folder into one of the store; what they are, by name."""
        files: dict[str, StoredFile] = {}
        for file in sorted(p for p in local.rglob("*") if p.is_file()):
            name, data = file.relative_to(local).as_posix(), file.read_bytes()
            self.write(f"{folder}/{name}", data)
            files[name] = StoredFile(hashlib.sha256(data).hexdigest(), len(data))
        return files

    def fetch_adapter(self, folder: str, scratch: Path) -> Path:
        """Get a local folder of the adapter's files: the store's own when it is local, else a copy under `scratch`."""
        if self.is_local:
            return Path(self.path(folder))
        local = scratch / folder
        local.mkdir(parents=True, exist_ok=True)
        for relative in self.files(folder, ""):
            (local / relative.rsplit("/", 1)[1]).write_bytes(self.read(relative))
        return local

    def record(self, folder: str) -> AdapterRecord | None:
        """Read the record of the adapter in a folder; None while it is not finished. Raises Damaged."""
        file = f"{folder}/{layout.RECORD_FILE}"
        if not self.exists(file):
            return None
        data = self.read(file)
        with reading(file):
            return AdapterRecord.from_bytes(data, folder)

    def records(self) -> dict[str, AdapterRecord]:
        """Read every finished adapter's record, by adapter_id. Raises Damaged."""
        files = self._record_files()
        known, missing = Index(self, layout.RECORDS_INDEX).split(files, ["folder", "record"])
        found: dict[str, AdapterRecord] = {}
        for row in (row for rows in (*known, *self._record_rows(missing)) for row in rows.to_pylist()):
            with reading(f"{row['folder']}/{layout.RECORD_FILE}"):
                record = AdapterRecord.from_bytes(row["record"], row["folder"])
            found[record.adapter_id] = record
        return found

    def _record_files(self) -> list[File]:
        return self.listed(layout.ADAPTERS, f"/{layout.RECORD_FILE}", recursive=True)

    def _record_rows(self, files: Sequence[File]) -> list[pa.Table]:
        texts = self.each(self._text, files)
        folders = [file.path.rsplit("/", 1)[0] for file in files]
        return [pa.table({"folder": [f], "record": [text]}) for f, text in zip(folders, texts, strict=True)]

    def _text(self, file: File) -> str:
        data = self.read(file.path)
        with reading(file.path):
            return data.decode()

    def trained(self) -> dict[str, str]:
        """Name the model of every finished adapter, by adapter_id, from the names of the files alone."""
        return {name: layout.model_in(folder) for name, folder in self.trained_in().items()}

    def trained_in(self) -> dict[str, str]:
        """Name the folder of every finished adapter, likewise."""
        folders = [file.path.rpartition("/")[0] for file in self._record_files()]
        return {layout.adapter_in(folder): folder for folder in folders}

    # -- results -----------------------------------------------------------------------------------------------------

    def append(self, items: list[dict[str, object]], scores: list[dict[str, object]]) -> None:
        """Add result rows as new part files: the items first, then the scores that say they are complete."""
        if items:
            self.add_part(layout.ITEMS, schema.table(schema.ITEMS, items))
        if scores:
            self.add_part(layout.SCORES, schema.table(schema.SCORES, scores))

    def add_part(self, folder: str, rows: pa.Table) -> None:
        """Add a part file to the items or scores. Its name states the first 16 hex digits of its sha256."""
        data = to_bytes(rows)
        self.write(layout.new_part(folder, data), data)

    def parts(self, folder: str) -> list[str]:
        """List the part files of the items or scores that count; until they are opened one may be put into another."""
        return [file.path for file in current(self, folder)]

    def scores(self, columns: Iterable[str] | None = None) -> pa.Table:
        """Read all score rows (a unit that ran twice appears twice: de-duplicate on score_id and metric)."""
        names = list(columns or schema.SCORES.names)
        parts = undisturbed(lambda: [pa.Table.from_batches([batch]) for batch in self.score_batches(names)])
        return pa.concat_tables([schema.empty(schema.SCORES, names), *parts], promote_options="default")

    def score_batches(self, names: Sequence[str], coded: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """Read them batch by batch; `coded` columns are dictionaries where they come from large parts or the index.

        Raises FileNotFoundError when a part is put into another meanwhile (study.store.parts.undisturbed).
        """
        large, small = by_size(current(self, layout.SCORES))
        for part in self.each(partial(columns, self, names=names, coded=coded), large):
            yield from part.to_batches()
        known, missing = Index(self, layout.SCORES_INDEX).split(small, names, coded)
        for batch in known:
            yield batch.replace_schema_metadata(None)
        for part in self._parts([file.path for file in missing], list(names)):
            yield from part.to_batches()

    def items(self, columns: Iterable[str] | None = None) -> pa.Table:
        """Read all item rows (de-duplicate on score_id and doc_id)."""
        names = list(columns) if columns is not None else schema.ITEMS.names
        parts = undisturbed(lambda: list(self._parts(self.parts(layout.ITEMS), names)))
        return pa.concat_tables([schema.empty(schema.ITEMS, names), *parts], promote_options="default")

    def scored_among(self, score_ids: Iterable[str]) -> set[str]:
        """Find those of some score_ids whose score rows are there."""
        asked = pa.array(sorted(score_ids), pa.string())

        def found() -> set[str]:
            ids = (batch.column(0) for batch in self.score_batches(["score_id"]))
            return {name for some in ids for name in some.filter(pc.is_in(some, asked)).to_pylist()}

        return undisturbed(found)

    def write_indexes(self) -> None:
        """Bring the indexes up to date where many files are not in them. Readers need none of this."""
        scores, records = by_size(current(self, layout.SCORES))[1], self._record_files()
        Index(self, layout.SCORES_INDEX).renew(
            scores, lambda new: list(self._parts([file.path for file in new], schema.SCORES.names))
        )
        Index(self, layout.RECORDS_INDEX).renew(records, self._record_rows)

    def scored(self, texts: Sequence[str] = (), numbers: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """Read the `SCORED` columns of all finished scores, and others, as dictionaries but for `numbers`."""
        coded = list(dict.fromkeys([*SCORED, *texts]))
        for batch in self.score_batches([*coded, *numbers], coded):
            found = [batch.column(name) for name in (*coded, *numbers)]
            codes = [c if pa.types.is_dictionary(c.type) else c.dictionary_encode() for c in found[: len(coded)]]
            yield pa.record_batch([*codes, *found[len(coded) :]], names=[*coded, *numbers])

    # -- failures ----------------------------------------------------------------------------------------------------

    def put_failure(self, failure: FailureRecord) -> None:
        text = json.dumps(failure.to_json(), indent=1, sort_keys=True)
        self.write(layout.failure_file(failure.unit_id), text.encode())

    def clear_failure(self, unit_id: str) -> None:
        self.delete(layout.failure_file(unit_id))

    def failures(self) -> dict[str, FailureRecord]:
        """Read the recorded failures, by unit_id. Raises Damaged."""
        names = self.files(layout.FAILURES, ".json")
        found = zip(names, self.each(self._failure, names), strict=True)
        return {layout.unit_in(name): failure for name, failure in found if failure is not None}

    def _failure(self, name: str) -> FailureRecord | None:
        """Read one; None where a run has cleared it since it was listed."""
        try:
            data = self.read(name)
        except FileNotFoundError:
            return None
        with reading(name):
            return FailureRecord.from_bytes(data, layout.unit_in(name))

    def failed(self) -> set[str]:
        """List the unit_ids with a recorded failure, from the names of the files alone."""
        return {layout.unit_in(name) for name in self.files(layout.FAILURES, ".json")}

    # -- parquet -----------------------------------------------------------------------------------------------------

    def parquet_files(self, files: Iterable[str]) -> Iterator[pq.ParquetFile]:
        """Open Parquet files of the store, one after the other. Raises Damaged, and OtherVersion."""
        return self.each(self._opened, files)

    def _opened(self, relative: str) -> pq.ParquetFile:
        source = self.opened(relative)
        with reading(relative):
            part = pq.ParquetFile(source)
            schema.check_version(part.schema_arrow, relative)
        return part

    def _parts(self, files: Sequence[str], names: list[str]) -> Iterator[pa.Table]:
        for file, part in zip(files, self.parquet_files(files), strict=True):
            with reading(file):
                rows = part.read(columns=names)
            yield rows.replace_schema_metadata(None)
