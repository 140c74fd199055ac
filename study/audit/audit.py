"""An audit of a store: every file is read, and what is wrong becomes a `Problem` that may know its own repair.

Invariant: looking changes nothing, and no repair touches what is whole. What cannot be read for now may be whole: an
OSError of the store ends the audit, and only what is wrong with the bytes of a file makes it damaged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from study import prompts
from study.audit.asked import asked, doubted, ids_in
from study.audit.dated import Dated
from study.audit.findings import Findings
from study.audit.given import Spoilt, unreadable
from study.audit.look import Look
from study.audit.repairs import drop, leave_out, temporary, undo
from study.store import contents, schema
from study.store.composed import ComposedRecord
from study.store.contents import Damaged
from study.store.layout import (
    ADAPTERS,
    CHECKPOINTS,
    COMPOSED_FILE,
    CONFIG_FILE,
    FAILURES,
    GRID_FILE,
    INDEX,
    ITEMS,
    PROMPTS,
    RECORD_FILE,
    RECORDS_INDEX,
    SCORES,
    SCORES_INDEX,
    SEEN_FILE,
    STUDY_FILE,
    is_composed,
    is_epoch,
    is_given,
    is_trained,
    unit_in,
)
from study.store.records import AdapterRecord, FailureRecord, StudyFile
from study.store.seen import Seen
from study.store.store import Store

Record = TypeVar("Record", AdapterRecord, ComposedRecord)


class Audit(Look):
    """One look at a whole store."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._scored: dict[str, int] = {}  # items of each score, as its rows state them
        self._of: dict[str, str | None] = {}  # the adapter of each score
        self._stay: set[str] = set()  # scores that no run would make again
        self._trained: set[str] = set()  # adapters whose files are what their records state
        self._folders: list[str] = []
        self._unread: set[str] = set()  # of items and scores: where a part could not be understood

    def run(self) -> Findings:
        self._study_files()
        self._adapters()
        self._scores()
        self._items()
        self._each(PROMPTS, prompts.check, "the next run that scores on its target writes it again")
        self._leftovers()
        return self.found

    # -- files of their own ------------------------------------------------------------------------------------------

    def _study_files(self) -> None:
        for name, parse in (
            (STUDY_FILE, StudyFile.from_bytes),
            (GRID_FILE, partial(contents.table, GRID_FILE, schema.GRID)),
            (SEEN_FILE, self._seen),
        ):
            try:
                if wrong := self._wrong(name, parse):
                    self._damaged(name, wrong, "the next run writes it anew")
            except schema.OtherVersion:
                self.found.notes.append(f"{name} is of another schema version: the next run writes it anew")

    def _seen(self, data: bytes) -> None:
        """What planning saw that makes results mean less is worth knowing, and wrong with no file."""
        self.found.notes += Seen.from_bytes(data).notes

    def _adapters(self) -> None:
        files: dict[str, list[str]] = {}
        for relative in self.store.files(ADAPTERS, "", recursive=True):
            folder, _, name = relative.rpartition("/")
            files.setdefault(folder, []).append(name)
        self._folders = list(files)
        for folder, names in files.items():
            if RECORD_FILE in names:
                self._adapter(folder)
            elif COMPOSED_FILE in names:
                self._composed(folder)
            elif is_epoch(folder) and folder.rpartition("/")[0] in files:
                continue  # a part of the adapter, whose record is of these files, too
            elif is_trained(folder) or is_composed(folder) or is_epoch(folder):
                self._cut_off(folder, "adapter without a record")
            elif not is_given(folder):
                self.found.notes.append(f"{folder} is no adapter's folder of a study, and stays as it is")
            elif CONFIG_FILE not in names:  # it is copied last
                self._cut_off(folder, "adapter copied in part")
            elif wrong := unreadable(self.store, folder):
                self._damaged(f"{folder}/{CONFIG_FILE}", wrong, "the next run copies the adapter again")

    def _cut_off(self, folder: str, what: str) -> None:
        self.found.add(folder, f"{what}: a run was killed here", "removed", partial(drop, self.store, folder))

    def _adapter(self, folder: str) -> None:
        record = self._recorded(f"{folder}/{RECORD_FILE}", AdapterRecord.from_bytes, "trains the adapter again")
        if record is not None:
            self._trained.add(record.adapter_id)

    def _composed(self, folder: str) -> None:
        self._recorded(f"{folder}/{COMPOSED_FILE}", ComposedRecord.from_bytes, "puts the adapter together again")

    def _recorded(self, file: str, parse: Callable[[bytes], Record], then: str) -> Record | None:
        """An adapter's record; None, and a problem, where the files beside it are not what it states."""
        data, folder, then = self._read(file), file.rpartition("/")[0], f"the next run {then} if it is needed"
        if data is None:
            return None
        self.found.counts["adapters"] += 1
        try:
            record = parse(data)
        except Damaged as error:
            self._damaged(file, f"cannot be read ({error})", then)
            return None
        wrong = None if folder.endswith(f"-{record.adapter_id}") else f"is the record of {record.adapter_id}"
        for name, stated in record.files.items():
            wrong = wrong or self._differs(f"{folder}/{name}", stated.sha256)
        if wrong:
            self._damaged(file, wrong, then)
        return None if wrong else record

    # -- results -----------------------------------------------------------------------------------------------------

    def _scores(self) -> None:
        seen: Counter[tuple[str, str]] = Counter()
        current = asked(self.store, self._folders)
        spoilt, dated = Spoilt(self.store, self._folders, current), Dated(self.store, current)
        for _, part in self._parts(SCORES, schema.SCORES):
            columns = (part.column(name).to_pylist() for name in ("score_id", "metric", "n_items", "adapter_id"))
            for score_id, metric, n_items, adapter_id in zip(*columns, strict=True):
                seen[score_id, metric] += 1
                self._scored[score_id] = max(n_items, self._scored.get(score_id, 0))
                self._of[score_id] = adapter_id
            self.found.counts["score parts"] += 1
            self._stay |= set(part.filter(pc.invert(current.makes_again(part))).column("score_id").to_pylist())
            spoilt.add(part)
            dated.add(part)
        spoilt.tell(self.found)
        dated.tell(self.found)
        self.found.counts["scores"] = len(self._scored)
        if twice := sum(count > 1 for count in seen.values()):
            self.found.notes.append(f"{twice:,} score rows stand there more than once: readers count them once")
        if gone := {adapter_id for adapter_id in self._of.values() if adapter_id is not None} - ids_in(self._folders):
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
            if strays and SCORES not in self._unread:
                self.found.add(
                    file,
                    f"items of {len(strays):,} scores that were never finished: a run was killed here",
                    "these rows removed",
                    partial(leave_out, self.store, file, schema.ITEMS, strays),
                )
        short = {name for name, stated in self._scored.items() if rows.get(name, 0) != stated}
        if ITEMS not in self._unread:
            again, what = short - self._stay, f"whose items are not all there, e.g. {min(short, default='')}"
            doubted(self.found, again, short & self._stay, what, partial(undo, self.store, again))

    def _parts(self, folder: str, like: pa.Schema) -> Iterator[tuple[str, pa.Table]]:
        """Read all columns of every part of a folder, and yield the whole ones; the others become problems.

        Raises FileNotFoundError where one is put into another meanwhile.
        """
        for file in self.store.parts(folder):
            data = self.store.read(file)
            try:
                contents.check_whole(file, data)
                part = contents.table(file, like, data)
            except schema.OtherVersion as error:
                self._unread.add(folder)
                self.found.add(file, str(error), "not by this program", None)
            except Damaged as error:
                self._unread.add(folder)
                self._damaged(file, str(error), "the next run makes what was in it again")
            else:
                yield file, part

    # -- what is of no use -------------------------------------------------------------------------------------------

    def _leftovers(self) -> None:
        for file in self.store.files(INDEX, ".parquet", recursive=True):
            if reason := self._of_no_use(file):
                self.found.add(file, reason, "removed: all of it is in other files", partial(self.store.delete, file))
        for name in temporary(self.store):
            self.found.add(name, "temporary file of a writer that is gone", "removed", partial(self.store.delete, name))
        for file in self.store.files(FAILURES, ".json"):
            unit_id = unit_in(file)
            if unit_id in self._scored or unit_id in self._trained:
                self.found.add(file, "failure of a unit that is done", "removed", partial(self.store.delete, file))
            elif wrong := self._wrong(file, partial(FailureRecord.from_bytes, unit_id=unit_id)):
                self._damaged(file, f"cannot be read ({wrong})", "the next run tries the unit again")
        for file in self.store.files(CHECKPOINTS, ".safetensors"):
            held = self._members(file)
            if held is not None and held <= self._trained:
                self.found.add(
                    file, "checkpoint of adapters that are done", "removed", partial(self.store.delete, file)
                )

    def _of_no_use(self, file: str) -> str | None:
        """Say what is wrong with a file of an index."""
        if file.rpartition("/")[0] not in (SCORES_INDEX, RECORDS_INDEX):
            return "index of an older release"
        wrong = self._wrong(file, partial(contents.segment, file))
        return f"cannot be read ({wrong})" if wrong else None

    def _members(self, file: str) -> set[str] | None:
        """Name the adapters of a checkpoint; None when it is gone meanwhile, or damaged, which becomes a problem."""
        data = self._read(file)
        try:
            return None if data is None else contents.members(data)
        except Damaged as error:
            self._damaged(file, f"cannot be read ({error})", "its adapters are trained from their beginning")
            return None
