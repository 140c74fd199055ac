"""Planning: what of the grid is not done.

A pure function of the grid and of what the store holds; running a finished study again plans nothing.
(`orchestrator.scheduling`: `decide` says what of the plan runs next, `gangs` which adapters are trained together.)
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from orchestrator.planning.grid import Grid, Part
from study.store.coverage import Coverage
from study.units import AdapterUnit


@dataclass(frozen=True)
class Plan:
    """What there is to do, and by model: units of an older config (`stale`), and those left as they failed (`left`).

    Scores that wait for an adapter that failed are left too.
    """

    grid: Grid
    train: tuple[AdapterUnit, ...]
    parts: tuple[Part, ...]
    stale_adapters: Counter[str]
    stale_scores: Counter[str]
    left_adapters: Counter[str] = field(default_factory=Counter)
    left_scores: Counter[str] = field(default_factory=Counter)

    @property
    def n_scores(self) -> int:
        return sum(len(part.targets) for part in self.parts)

    @property
    def is_empty(self) -> bool:
        return not self.train and not self.parts

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Adapters to train and scores to make, by model."""
        scores: Counter[str] = Counter()
        for part in self.parts:
            scores[part.model.name] += len(part.targets)
        return Counter(unit.model for unit in self.train), scores

    def names(self, failures: Iterable[tuple[str, str]]) -> set[str]:
        """Those of some recorded failures, (unit_id, unit), that name a unit of this plan: their unit_ids."""
        trained = {unit.unit_id for unit in self.train}
        parts = {str(part): part for part in self.parts}
        targets = {str(cell): i for i, cell in enumerate(self.grid.targets)}
        known = set()
        for unit_id, unit in failures:
            subject, _, cell = unit.rpartition(" on ")
            part, target = parts.get(subject), targets.get(cell)
            if part is not None and target is not None and target in part.targets:
                scored = self.grid.unit(part, target).unit_id == unit_id
            else:
                scored = False
            if scored or unit_id in trained:
                known.add(unit_id)
        return known


def plan(grid: Grid, done_adapters: Mapping[str, str], done_scores: Iterable[pa.RecordBatch]) -> Plan:
    """What of the grid is not done, given the store's `trained` adapters with their models and its `scored` rows.

    An adapter whose scores are all there is not trained again, even if it is gone.
    """
    asked = list(grid.parts())
    done = Coverage([part.subject for part in asked], grid.target_ids, done_scores)
    begun, whole = np.any(done.there, axis=1).tolist(), np.all(done.there, axis=1).tolist()
    parts = [
        Part(part.model, part.adapter, array("I", np.flatnonzero(~done.there[i]))) if begun[i] else part
        for i, part in enumerate(asked)
        if not whole[i]
    ]
    wanted = {unit.adapter_id for unit in grid.adapters}
    needed = {part.subject for part in parts if part.adapter} if grid.targets else wanted
    return Plan(
        grid=grid,
        train=tuple(
            unit for unit in grid.adapters if unit.adapter_id in needed and unit.adapter_id not in done_adapters
        ),
        parts=tuple(parts),
        stale_adapters=Counter(done_adapters[name] for name in done_adapters.keys() - wanted),
        stale_scores=done.stale(),
    )


def without(todo: Plan, failed: Mapping[str, str]) -> tuple[Plan, set[str]]:
    """A plan without units that have failed for good (unit_id: unit), an adapter's scores with it; and those it had."""
    had = todo.names(failed.items())
    train = tuple(unit for unit in todo.train if unit.unit_id not in had)
    lost = {unit.adapter_id for unit in todo.train} - {unit.adapter_id for unit in train}
    marked = {failed[unit_id].rpartition(" on ")[0] for unit_id in had}
    parts = []
    for part in todo.parts:
        targets = part.targets
        if str(part) in marked:
            targets = [i for i in targets if todo.grid.unit(part, i).unit_id not in had]
        if targets and part.subject not in lost:
            parts.append(Part(part.model, part.adapter, targets))
    rest = replace(todo, train=train, parts=tuple(parts))
    left_adapters, left_scores = (before - after for before, after in zip(todo.counts(), rest.counts(), strict=True))
    return replace(rest, left_adapters=left_adapters, left_scores=left_scores), had
