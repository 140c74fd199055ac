"""An audit of a store: every file is read, and what is wrong becomes a `Problem` that may know its own repair.

Invariant: looking changes nothing, and no repair touches what is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pyarrow import fs as pafs
from safetensors import SafetensorError, deserialize

from study import schema
from study.repairs import DAMAGED, drop, leave_out, set_aside, undo
from study.store import ADAPTERS, FAILURES, GRID_FILE, INDEX, ITEMS, RECORD_FILE, SCORES, STUDY_FILE, Store

CHECKPOINTS = "checkpoints"
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass
class Problem:
    """What is wrong with a file, and how it is repaired: the words, and what does it (None: by a person)."""

    file: str
    what: str
    remedy: str
    repair: Callable[[], None] | None


@dataclass
class Findings:
    """What a check has found. `notes` are worth knowing and no problem."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, file: str, what: str, remedy: str, repair: Callable[[], None] | None) -> None:
        self.problems.append(Problem(file, what, remedy, repair))


class Audit:
    """One look at a whole store."""

    def __init__(self, store: Store) -> None:
        self.store, self.found = store, Findings()
        self._scored: dict[str, int] = {}  # items of each score, as its rows state them
        self._of: dict[str, str | None] = {}  # the adapter of each score
        self._records: dict[str, dict[str, Any]] = {}
        self._folders: list[str] = []
        self._unread = False  # scores of another schema version: nobody knows what is in them

    def run(self) -> Findings:
        self._study_files()
        self._adapters()
        self._scores()
        self._items()
        self._leftovers()
        return self.found

    # -- files of their own ------------------------------------------------------------------------------------------

    def _study_files(self) -> None:
        for name, read in ((STUDY_FILE, yaml.safe_load), (GRID_FILE, lambda _: self.store.read_grid())):
            if not self.store.exists(name):
                continue
            try:
                read(self.store.read(name))
            except (OSError, ValueError, pa.ArrowException, yaml.YAMLError) as error:
                self._damaged(name, str(error), "the next run writes it anew")

    def _adapters(self) -> None:
        files: dict[str, list[str]] = {}
        for relative in self.store.files(ADAPTERS, "", recursive=True):
            folder, _, name = relative.rpartition("/")
            files.setdefault(folder, []).append(name)
        self._folders = list(files)
        for folder, names in files.items():
            if RECORD_FILE in names:
                self._adapter(folder)
            elif "/existing/" not in folder:
                self.found.add(
                    folder,
                    "adapter without a record: a run was killed here",
                    "removed",
                    partial(drop, self.store, folder),
                )
            elif wrong := self._unreadable(folder):
                self._damaged(f"{folder}/{CONFIG}", wrong, "the next run copies the adapter again")

    def _adapter(self, folder: str) -> None:
        file = f"{folder}/{RECORD_FILE}"
        self.found.counts["adapters"] += 1
        try:
            record = json.loads(self.store.read(file))
            adapter_id, listed = str(record["adapter_id"]), dict(record.get("files", {}))
        except (ValueError, KeyError, TypeError) as error:
            self._damaged(file, f"cannot be read ({error!r})", "the next run trains the adapter again if it is needed")
            return
        self._records[adapter_id] = record
        wrong = None if folder.endswith(f"-{adapter_id}") else f"is the record of {adapter_id}"
        for name, stated in listed.items():
            wrong = wrong or self._differs(f"{folder}/{name}", stated)
        if wrong := wrong or (None if listed else self._unreadable(folder)):
            self._damaged(file, wrong, "the next run trains the adapter again if it is needed")

    def _differs(self, file: str, stated: dict[str, Any]) -> str | None:
        try:
            data = self.store.read(file)
        except FileNotFoundError:
            return f"{file.rpartition('/')[2]} is missing"
        if hashlib.sha256(data).hexdigest() != stated["sha256"]:
            return f"{file.rpartition('/')[2]} has another checksum than its record states"
        return None

    def _unreadable(self, folder: str) -> str | None:
        """Of an adapter without checksums: what is wrong with its two files."""
        try:
            json.loads(self.store.read(f"{folder}/{CONFIG}"))
            deserialize(self.store.read(f"{folder}/{WEIGHTS}"))  # type: ignore[no-untyped-call]
        except FileNotFoundError as error:
            return f"a file is missing ({error})"
        except (ValueError, SafetensorError) as error:
            return f"cannot be read ({error})"
        return None

    # -- results -----------------------------------------------------------------------------------------------------

    def _scores(self) -> None:
        seen: Counter[tuple[str, str]] = Counter()
        for _, part in self._parts(SCORES, schema.SCORES):
            columns = (part.column(name).to_pylist() for name in ("score_id", "metric", "n_items", "adapter_id"))
            for score_id, metric, n_items, adapter_id in zip(*columns, strict=True):
                seen[score_id, metric] += 1
                self._scored[score_id] = max(n_items, self._scored.get(score_id, 0))
                self._of[score_id] = adapter_id
            self.found.counts["score parts"] += 1
        self.found.counts["scores"] = len(self._scored)
        if twice := sum(count > 1 for count in seen.values()):
            self.found.notes.append(f"{twice:,} score rows stand there more than once: readers count them once")
        here = {folder.rpartition("-")[2] for folder in self._folders}
        if gone := {adapter_id for adapter_id in self._of.values() if adapter_id is not None} - here:
            self.found.notes.append(f"{len(gone):,} adapters have scores but are gone: their scores stay")

    def _items(self) -> None:
        rows: dict[str, int] = {}
        for file, part in self._parts(ITEMS, schema.ITEMS):
            self.found.counts["item parts"] += 1
            self.found.counts["items"] += part.num_rows
            grouped = part.group_by("score_id").aggregate([("doc_id", "count_distinct")])
            names, counts = grouped.column("score_id").to_pylist(), grouped.column("doc_id_count_distinct").to_pylist()
            for score_id, count in zip(names, counts, strict=True):
                rows[score_id] = max(count, rows.get(score_id, 0))
            strays = {name for name in names if name not in self._scored}
            if strays and not self._unread:
                self.found.add(
                    file,
                    f"items of {len(strays):,} scores that were never finished: a run was killed here",
                    "these rows removed",
                    partial(leave_out, self.store, file, schema.ITEMS, strays),
                )
        if short := {name for name, stated in self._scored.items() if rows.get(name, 0) != stated}:
            self.found.add(
                SCORES,
                f"{len(short):,} scores whose items are not all there, e.g. {min(short)}",
                "these scores removed: the next run makes them again",
                partial(undo, self.store, short),
            )

    def _parts(self, folder: str, like: pa.Schema) -> Iterator[tuple[str, pa.Table]]:
        """Every part of a folder that is whole, all of its columns read; the others become problems."""
        for file in self.store.files(folder, ".parquet"):
            try:
                data = self.store.read(file)
                if not _is_whole(file, data):
                    raise ValueError("its content is not what its name states")
                parquet = pq.ParquetFile(pa.BufferReader(data))
                schema.check_version(parquet.schema_arrow, file)
                part = parquet.read()
                missing = set(like.names) - set(part.column_names)
                if any(not like.field(name).nullable for name in missing):
                    raise ValueError(f"it lacks {', '.join(sorted(missing))}")
            except schema.OtherVersion as error:
                self._unread = self._unread or folder == SCORES
                self.found.add(file, str(error), "not by this program", None)
            except (OSError, ValueError, pa.ArrowException) as error:
                self._damaged(file, str(error).splitlines()[0], "the next run makes what was in it again")
            else:
                yield file, part

    # -- what is of no use -------------------------------------------------------------------------------------------

    def _leftovers(self) -> None:
        for file in self.store.files(INDEX, ".parquet", recursive=True):
            try:
                pq.read_table(pa.BufferReader(self.store.read(file)))
            except (OSError, ValueError) as error:
                reason = f"cannot be read ({str(error).splitlines()[0]})"
                self.found.add(file, reason, "removed: all of it is in other files", partial(self.store.delete, file))
        for name in _temporary(self.store):
            self.found.add(name, "temporary file of a writer that is gone", "removed", partial(self.store.delete, name))
        for file in self.store.files(FAILURES, ".json"):
            unit_id = file.rpartition("/")[2].removesuffix(".json")
            if unit_id in self._scored or unit_id in self._records:
                self.found.add(file, "failure of a unit that is done", "removed", partial(self.store.delete, file))
                continue
            try:
                json.loads(self.store.read(file))["kind"]
            except (ValueError, KeyError, TypeError) as error:
                self._damaged(file, f"cannot be read ({error!r})", "the next run tries the unit again")
        for file in self.store.files(CHECKPOINTS, ".safetensors"):
            members = self._members(file)
            if members is not None and members <= self._records.keys():
                self.found.add(
                    file, "checkpoint of adapters that are done", "removed", partial(self.store.delete, file)
                )

    def _members(self, file: str) -> set[str] | None:
        """The adapters of a checkpoint; None, and a problem, when it is damaged."""
        try:
            data = self.store.read(file)
            deserialize(data)  # type: ignore[no-untyped-call]
            length = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + length])
            return set(json.loads(header["__metadata__"]["state"])["members"])
        except (ValueError, KeyError, TypeError, SafetensorError) as error:
            self._damaged(file, f"cannot be read ({error!r})", "its adapters are trained from their beginning")
            return None

    def _damaged(self, file: str, what: str, then: str) -> None:
        self.found.add(file, what, f"moved to {DAMAGED}/; {then}", partial(set_aside, self.store, file))


def _is_whole(file: str, data: bytes) -> bool:
    """Whether a part has the checksum that its name ends in; one that an older release wrote states none."""
    stated = file.rpartition("/")[2].removesuffix(".parquet").split("-")[2:]
    return not stated or hashlib.sha256(data).hexdigest().startswith(stated[0])


def _temporary(store: Store) -> list[str]:
    """Files that a writer had not finished, on a local disk; object stores show none."""
    if not store.is_local:
        return []
    root = store.path("")
    found = store.fs.get_file_info(pafs.FileSelector(root, recursive=True, allow_not_found=True))
    files = (info.path[len(root) :] for info in found if info.type == pafs.FileType.File)
    return sorted(f for f in files if f.rpartition("/")[2].startswith(".") and f.endswith(".tmp"))
