"""What a store's last config asks for: only its scores does a run make again, so only those may a repair take away."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from study.audit.findings import Findings
from study.cells import Cell
from study.choosing import Row, tried_of, tried_on
from study.store import schema
from study.store.composed import compositions, held_out
from study.store.contents import Damaged
from study.store.layout import SCORES, adapter_in, epoch_id, epoch_in, is_epoch
from study.store.records import StudyFile
from study.store.schema import OtherVersion
from study.store.store import Store
from study.store.study_file import read_study

NOT_AGAIN = "but stay: the config asks for them no more, or their adapters are gone"
_GAP = "\n"
_NONE = pa.array([], pa.string())


@dataclass(frozen=True)
class Asked:
    """The study, its targets (as in the grid), and the ids of its subjects that are here; None and empty where they are
    not known. Targets that are `apart` choose a lambda: of them only these `pairs` of subject and target are asked for.
    """

    study: StudyFile | None
    targets: pa.Table
    subjects: pa.Array
    apart: pa.Array
    pairs: pa.Array

    def makes_again(self, scores: pa.Table) -> pa.ChunkedArray:
        """Which rows of scores the next run would make again, were they gone."""
        subject, target = scores.column("subject_id"), scores.column("target_id")
        there = pc.is_in(target, self.targets.column("target_id").combine_chunks())
        chosen = pc.is_in(pc.binary_join_element_wise(subject, target, _GAP), self.pairs)
        measured = pc.and_(there, pc.invert(pc.is_in(target, self.apart)))
        return pc.and_(pc.is_in(subject, self.subjects), pc.or_(measured, chosen))


def asked(store: Store, folders: Iterable[str]) -> Asked:
    """Read it, where adapters lie in these folders: a subject is here if it is a base, or its adapter is."""
    try:
        study, grid = read_study(store), store.read_grid()
        made, apart = compositions(store).to_pylist(), held_out(store)
    except (Damaged, OtherVersion):
        study = grid = None
    if study is None or grid is None:
        return Asked(None, schema.TARGETS.empty_table(), _NONE, _NONE, _NONE)
    subjects, targets = grid
    adapters = subjects.column("adapter_id")
    here = pc.is_in(adapters, pa.array(sorted(ids_in(folders)), pa.string()))
    subject_ids = subjects.column("subject_id").filter(pc.or_(pc.is_null(adapters), here)).combine_chunks()
    pairs = _pairs(subjects, targets, made, set(apart))
    return Asked(study, targets, subject_ids, pa.array(apart, pa.string()), pa.array(pairs, pa.string()))


def _pairs(subjects: pa.Table, targets: pa.Table, made: Iterable[Row], apart: Collection[str]) -> list[str]:
    """What is scored to choose a lambda: every base on all that is `apart`, and what a choice reads."""
    names, *others = (targets.column(name).to_pylist() for name in schema.TARGETS.names)
    cells = [Cell(task, language, name in apart) for name, task, language in zip(names, *others, strict=True)]
    bases = subjects.filter(pc.is_null(subjects.column("adapter_id"))).column("subject_id").to_pylist()
    every = [i for i, cell in enumerate(cells) if cell.held_out]
    tried = tried_on(tried_of(made), cells) | dict.fromkeys(bases, every)
    return [f"{subject}{_GAP}{names[i]}" for subject, found in tried.items() for i in found]


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
