"""What a store's last config asks for: only its scores does a run make again, so only those may a repair take away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from study.audit.findings import Findings
from study.store import schema
from study.store.contents import Damaged
from study.store.layout import SCORES, adapter_in, epoch_id, epoch_in, is_epoch
from study.store.records import StudyFile
from study.store.schema import OtherVersion
from study.store.store import Store
from study.store.study_file import read_study

NOT_AGAIN = "but stay: the config asks for them no more, or their adapters are gone"


@dataclass(frozen=True)
class Asked:
    """The study, its targets (as in the grid), and the ids of its subjects that are here; None and empty where they are
    not known."""

    study: StudyFile | None
    targets: pa.Table
    subjects: pa.Array

    def makes_again(self, scores: pa.Table) -> pa.ChunkedArray:
        """Which rows of scores the next run would make again, were they gone."""
        subject = pc.is_in(scores.column("subject_id"), self.subjects)
        return pc.and_(subject, pc.is_in(scores.column("target_id"), self.targets.column("target_id").combine_chunks()))


def asked(store: Store, folders: Iterable[str]) -> Asked:
    """Read it, where adapters lie in these folders: a subject is here if it is a base, or its adapter is."""
    try:
        study, grid = read_study(store), store.read_grid()
    except (Damaged, OtherVersion):
        study = grid = None
    if study is None or grid is None:
        return Asked(None, schema.TARGETS.empty_table(), pa.array([], pa.string()))
    subjects, targets = grid
    adapters = subjects.column("adapter_id")
    here = pc.is_in(adapters, pa.array(sorted(ids_in(folders)), pa.string()))
    return Asked(
        study, targets, subjects.column("subject_id").filter(pc.or_(pc.is_null(adapters), here)).combine_chunks()
    )


def ids_in(folders: Iterable[str]) -> set[str]:
    """The adapters that lie in these folders, those of single epochs by their own ids."""
    found = set()
    for folder in folders:
        own, _, name = folder.rpartition("/")
        found.add(epoch_id(adapter_in(own), epoch_in(name)) if is_epoch(folder) else adapter_in(folder))
    return found


def doubted(findings: Findings, scores: set[str], others: set[str], what: str, repair: Callable[[], None]) -> None:
    """Add a problem for scores that the next run makes again, whose repair removes them, a note for those that stay."""
    if scores:
        remedy = "these scores removed: the next run makes them again"
        findings.add(SCORES, f"{len(scores):,} scores {what}", remedy, repair)
    if others:
        findings.notes.append(f"{len(others):,} scores {what}, {NOT_AGAIN}")
