"""Planning: what of the grid is not done.

A pure function of the grid and of what the store holds; running a finished study again plans nothing.
(`orchestrator.scheduling`: `decide` says what of the plan runs next, `gangs` which adapters are trained together.)
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from orchestrator.planning.grid import Grid, Part
from study.store.coverage import Coverage
from study.store.records import FailureRecord
from study.units import AdapterUnit, ComposedAdapter, GivenAdapter


@dataclass(frozen=True)
class Plan:
    """What there is to do, and by model: units of an older config (`stale`), and those kept as they failed (`kept`).

    Scores that wait for an adapter that is kept so are kept too.
    """

    grid: Grid
    train: tuple[AdapterUnit, ...]
    parts: tuple[Part, ...]
    stale_adapters: Counter[str]
    stale_scores: Counter[str]
    kept_adapters: Counter[str] = field(default_factory=Counter)
    kept_scores: Counter[str] = field(default_factory=Counter)

    @property
    def n_scores(self) -> int:
        return sum(len(part.targets) for part in self.parts)

    @property
    def is_empty(self) -> bool:
        return not self.train and not self.parts

    def given(self) -> set[GivenAdapter]:
        """Adapters that exist already and are scored, or are parts of what is, or begin what is to be trained."""
        found = {unit.start for unit in self.train if isinstance(unit.start, GivenAdapter)}
        for part in self.parts:
            some = part.adapter.parts if isinstance(part.adapter, ComposedAdapter) else (part.adapter,)
            found |= {one for one in some if isinstance(one, GivenAdapter)}
        return found

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Adapters to train and scores to make, by model."""
        scores: Counter[str] = Counter()
        for part in self.parts:
            scores[part.model.name] += len(part.targets)
        return Counter(unit.model for unit in self.train), scores

    def asks_for(self, failures: Iterable[FailureRecord]) -> set[str]:
        """The unit_ids of those recorded failures that are of units of this plan."""
        to_train = {unit.unit_id for unit in self.train}
        parts = {part.subject: part for part in self.parts}
        targets = {name: i for i, name in enumerate(self.grid.target_ids)}
        return {
            one.unit_id
            for one in failures
            if (one.unit_id in to_train if one.target_id is None else self._is_scored(one, parts, targets))
        }

    def _is_scored(self, failure: FailureRecord, parts: Mapping[str, Part], targets: Mapping[str, int]) -> bool:
        """Whether a failure is of a score that is to be made, as it is identified now."""
        part, target = parts.get(failure.subject_id or ""), targets.get(failure.target_id or "")
        if part is None or target is None or target not in part.targets:
            return False
        return self.grid.unit(part, target).unit_id == failure.unit_id


def plan(
    grid: Grid,
    done_adapters: Mapping[str, str],
    done_scores: Iterable[pa.RecordBatch],
    kept: Collection[str] = (),
) -> Plan:
    """What of the grid is not done, given the store's `trained` adapters with their models and its `scored` rows.

    An adapter whose scores are all there is not trained again, even if it is gone. `kept` are epochs that their
    adapters are themselves, whose scores are theirs.
    """
    asked = list(grid.parts())
    done = Coverage([part.subject for part in asked], grid.target_ids, done_scores)
    if grid.held_out:  # which not all subjects are scored on: what is not asked for is not missing
        for i, part in enumerate(asked):
            done.there[i, np.setdiff1d(np.arange(len(grid.targets)), part.targets)] = True
    for i, part in enumerate(asked):
        if part.subject in kept:
            done.there[i] = True
    begun, whole = np.any(done.there, axis=1).tolist(), np.all(done.there, axis=1).tolist()
    parts = [
        Part(part.model, part.adapter, array("I", np.flatnonzero(~done.there[i]))) if begun[i] else part
        for i, part in enumerate(asked)
        if not whole[i]
    ]
    wanted = {unit.adapter_id for unit in grid.adapters}
    needed = {adapter_id for part in parts for adapter_id in part.needs} if grid.targets else wanted
    return Plan(
        grid=grid,
        train=tuple(_to_train(grid.adapters, needed, done_adapters.keys())),
        parts=tuple(parts),
        stale_adapters=Counter(done_adapters[name] for name in done_adapters.keys() - wanted),
        stale_scores=done.stale(),
    )


def _to_train(units: Sequence[AdapterUnit], needed: Collection[str], done: Collection[str]) -> list[AdapterUnit]:
    """What is needed and not done, and what that begins with, in the grid's order."""
    asked, found = set(needed), list[AdapterUnit]()
    for unit in reversed(units):  # what an adapter begins with comes before it
        if unit.adapter_id in asked and unit.adapter_id not in done:
            found.append(unit)
            if unit.waits_for is not None:
                asked.add(unit.waits_for)
    return found[::-1]


def followers(units: Sequence[AdapterUnit], starts: Collection[str]) -> list[AdapterUnit]:
    """Those of the units, which are in the grid's order, that begin with one of these adapters, or with such a one."""
    gone, found = set(starts), list[AdapterUnit]()
    for unit in units:
        if unit.waits_for in gone:
            found.append(unit)
            gone.add(unit.adapter_id)
    return found


def without(to_do: Plan, failed: Mapping[str, FailureRecord]) -> tuple[Plan, set[str]]:
    """A plan without units that have failed for good; and the unit_ids that it had.

    With an adapter go its scores, and the adapters that begin with it.
    """
    had = to_do.asks_for(failed.values())
    lost = {unit.adapter_id for unit in to_do.train if unit.unit_id in had}
    lost |= {unit.adapter_id for unit in followers(to_do.train, lost)}
    train = tuple(unit for unit in to_do.train if unit.adapter_id not in lost)
    marked = {failed[unit_id].subject_id for unit_id in had}
    parts = []
    for part in to_do.parts:
        targets = part.targets
        if part.subject in marked:
            targets = [i for i in targets if to_do.grid.unit(part, i).unit_id not in had]
        if targets and lost.isdisjoint(part.needs):
            parts.append(Part(part.model, part.adapter, targets))
    rest = replace(to_do, train=train, parts=tuple(parts))
    kept_adapters, kept_scores = (before - after for before, after in zip(to_do.counts(), rest.counts(), strict=True))
    return replace(rest, kept_adapters=kept_adapters, kept_scores=kept_scores), had
