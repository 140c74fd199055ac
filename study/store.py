"""The store: everything a study produced, under one URI (local path, s3://, gs://).

Invariant: a unit is done when its record (adapter) or its score row is there, and that is written last and in one
step (a temporary name and a rename on local disks, a single put on object stores). Writers never share a file.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from study import schema
from study.errors import ConfigError, StoreRefused

ADAPTERS, ITEMS, SCORES, FAILURES, LOGS = "adapters", "results/items", "results/scores", "failures", "logs"
STUDY_FILE, GRID_FILE, RECORD_FILE = "study.yaml", "grid.parquet", "record.json"
REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EFBIG}
REFUSED_BY_BUCKETS = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH")

DoneScore = tuple[str, str, str | None, str]  # score_id, model, adapter_id (None: the base), target as task/language


class Store:
    """Files of one study. Cheap to make and to pickle: it holds the URI and opens the filesystem on first use."""

    def __init__(self, uri: str) -> None:
        self.uri = uri if "://" in uri else os.path.abspath(uri)
        self._fs: pafs.FileSystem | None = None
        self._root = ""

    def __getstate__(self) -> dict[str, str]:
        return {"uri": self.uri}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["uri"])  # type: ignore[misc]

    @property
    def fs(self) -> pafs.FileSystem:
        if self._fs is None:
            self._fs, self._root = pafs.FileSystem.from_uri(self.uri)
        return self._fs

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, pafs.LocalFileSystem)

    def path(self, relative: str) -> str:
        """Path of a file of the store inside its filesystem."""
        _ = self.fs
        return f"{self._root.rstrip('/')}/{relative}"

    def check_writable(self) -> None:
        """Write and delete a small file; raises ConfigError (key `store`) when that fails."""
        probe = f".probe-{uuid.uuid4().hex}"
        try:
            self.write(probe, b"ok")
            self.fs.delete_file(self.path(probe))
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(
                "store",
                self.uri,
                f"cannot be written ({error})",
                "name a folder or bucket you may write to, with space left",
            ) from error

    # -- bytes -------------------------------------------------------------------------------------------------------

    def write(self, relative: str, data: bytes) -> None:
        """Write a file so that readers see all of it or nothing. Raises StoreRefused when trying again cannot help."""
        with _refusals(self.uri):
            final = self.path(relative)
            if self.is_local:
                _replace(final, data)
                return
            with self.fs.open_output_stream(final, compression=None) as out:
                out.write(data)

    def read(self, relative: str) -> bytes:
        """Contents of a file; FileNotFoundError when it is not there."""
        with self.fs.open_input_stream(self.path(relative), compression=None) as source:
            return bytes(source.read())

    def exists(self, relative: str) -> bool:
        return bool(self.fs.get_file_info(self.path(relative)).type != pafs.FileType.NotFound)

    def delete(self, relative: str) -> None:
        """Delete one file; fine when it is not there."""
        if self.exists(relative):
            self.fs.delete_file(self.path(relative))

    def files(self, folder: str, suffix: str, recursive: bool = False) -> list[str]:
        """Relative paths of the files below a folder, sorted; files that are still being written are left out."""
        root = self.path("")
        selector = pafs.FileSelector(self.path(folder), recursive=recursive, allow_not_found=True)
        found = (info.path for info in self.fs.get_file_info(selector) if info.type == pafs.FileType.File)
        return sorted(p[len(root) :] for p in found if p.endswith(suffix) and not p.rsplit("/", 1)[1].startswith("."))

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
        found: dict[str, dict[str, Any]] = {}
        for relative in self.files(ADAPTERS, f"/{RECORD_FILE}", recursive=True):
            record = json.loads(self.read(relative))
            record["folder"] = relative.rsplit("/", 1)[0]
            found[record["adapter_id"]] = record
        return found

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
        return self._read_parquet(self.files(SCORES, ".parquet"), schema.SCORES, columns)

    def items(self, columns: Iterable[str] | None = None) -> pa.Table:
        """All item rows (de-duplicate on score_id and doc_id)."""
        return self._read_parquet(self.files(ITEMS, ".parquet"), schema.ITEMS, columns)

    def done_scores(self) -> set[str]:
        """score_ids whose score rows are there."""
        return set(self.scores(["score_id"]).column("score_id").to_pylist())

    def scored(self) -> Iterator[DoneScore]:
        """Every finished score and what it is of; each once or more."""
        table = self.scores(["score_id", "model", "adapter_id", "target_task", "target_language"])
        for batch in table.to_batches(max_chunksize=65536):
            score_id, model, adapter_id, task, language = (column.to_pylist() for column in batch.columns)
            targets = (f"{a}/{b}" for a, b in zip(task, language, strict=True))
            yield from zip(score_id, model, adapter_id, targets, strict=True)

    # -- failures ----------------------------------------------------------------------------------------------------

    def put_failure(self, unit_id: str, failure: dict[str, Any]) -> None:
        self.write(f"{FAILURES}/{unit_id}.json", json.dumps(failure, indent=1, sort_keys=True, default=str).encode())

    def clear_failure(self, unit_id: str) -> None:
        self.delete(f"{FAILURES}/{unit_id}.json")

    def failures(self) -> dict[str, dict[str, Any]]:
        """Recorded failures by unit id."""
        names = self.files(FAILURES, ".json")
        return {name.rsplit("/", 1)[1].removesuffix(".json"): json.loads(self.read(name)) for name in names}

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

    def _parts(self, files: list[str], names: list[str]) -> Iterator[pa.Table]:
        for relative in files:
            with self.fs.open_input_file(self.path(relative)) as source:
                part = pq.ParquetFile(source)
                schema.check_version(part.schema_arrow, relative)
                yield part.read(columns=names).replace_schema_metadata(None)


def _replace(final: str, data: bytes) -> None:
    folder, name = final.rsplit("/", 1)
    os.makedirs(folder, exist_ok=True)
    temporary = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, final)
    finally:
        with suppress(OSError):  # a disk that refuses the file may refuse its removal too
            os.remove(temporary)


@contextmanager
def _refusals(uri: str) -> Iterator[None]:
    """Tell what the store refuses from what may work the next time."""
    try:
        yield
    except OSError as error:
        if error.errno in REFUSED or any(sign in str(error) for sign in REFUSED_BY_BUCKETS):
            raise StoreRefused(error.errno, f"the store {uri} refuses a write: {error}") from error
        raise


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _empty(like: pa.Schema, names: list[str]) -> pa.Table:
    fields = [like.field(name) for name in names]
    return pa.schema(fields).empty_table()
