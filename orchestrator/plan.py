"""The plan: pure functions from a config and what is done to what is left to do.

`expand` turns config, models and data fingerprints into the grid of all units, each named by its identity;
`plan` takes away what is done. Running a finished study again therefore plans nothing. (`orchestrator.gangs` says
which adapters are trained together.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from study.cells import Cell, Source
from study.config import StudyConfig
from study.identity import adapter_id, score_id
from study.models import Model
from study.units import AdapterUnit, GivenAdapter, ScoreUnit


@dataclass(frozen=True)
class Grid:
    """Every unit the config asks for, in the order in which it should be done."""

    models: tuple[Model, ...]
    adapters: tuple[AdapterUnit, ...]
    scores: tuple[ScoreUnit, ...]
    existing: tuple[GivenAdapter, ...] = ()

    def rows(self) -> list[dict[str, object]]:
        """The grid as rows of study.schema.GRID."""
        by_name = {model.name: model for model in self.models}
        return [
            {**unit.keys(), "model_size": by_name[unit.model].size_billions, "model_family": by_name[unit.model].family}
            for unit in self.scores
        ]


@dataclass(frozen=True)
class Plan:
    """What is left to do, and how many units of the store belong to an older config (`stale`)."""

    grid: Grid
    train: tuple[AdapterUnit, ...]
    score: tuple[ScoreUnit, ...]
    stale_adapters: int
    stale_scores: int

    @property
    def is_empty(self) -> bool:
        return not self.train and not self.score


def expand(
    config: StudyConfig,
    models: Sequence[Model],
    sources: Mapping[Source, list[str]],
    targets: Mapping[Cell, str],
    existing: Sequence[GivenAdapter] = (),
) -> Grid:
    """All units of a config. `sources` and `targets` map the usable cells to their data fingerprints.

    Order: model by model; the base's scores first; then adapters that need no training; then seed by seed, so that a
    full matrix appears early.
    """
    adapters: list[AdapterUnit] = []
    scores: list[ScoreUnit] = []
    for model in models:
        trained = [
            AdapterUnit(adapter_id(model.identity, prints, config.recipe, seed), model.name, source, seed)
            for seed in config.seeds
            for source, prints in sources.items()
        ]
        adapters += trained
        given = [adapter for adapter in existing if adapter.model == model.name]
        for adapter in [None, *given, *trained]:
            subject = adapter.adapter_id if adapter else model.identity
            scores += [
                ScoreUnit(score_id(subject, requests, config.scoring), model.name, model.params, adapter, cell)
                for cell, requests in targets.items()
            ]
    return Grid(tuple(models), tuple(adapters), tuple(scores), tuple(existing))


def plan(grid: Grid, done_adapters: Iterable[str], done_scores: Iterable[str]) -> Plan:
    """What of the grid is not done. An adapter whose scores are all there is not trained again, even if it is gone."""
    adapters_done, scores_done = set(done_adapters), set(done_scores)
    to_score = tuple(unit for unit in grid.scores if unit.score_id not in scores_done)
    needed = {unit.adapter.adapter_id for unit in to_score if unit.adapter}
    if not grid.scores:
        needed = {unit.adapter_id for unit in grid.adapters}
    return Plan(
        grid=grid,
        train=tuple(unit for unit in grid.adapters if unit.adapter_id in needed - adapters_done),
        score=to_score,
        stale_adapters=len(adapters_done - {unit.adapter_id for unit in grid.adapters}),
        stale_scores=len(scores_done - {unit.score_id for unit in grid.scores}),
    )


def without(todo: Plan, failed: Collection[str]) -> tuple[Plan, list[str]]:
    """A plan without units that have failed for good, and an adapter's scores with it; the ids of those it had."""
    train = tuple(unit for unit in todo.train if unit.unit_id not in failed)
    lost = {unit.adapter_id for unit in todo.train} - {unit.adapter_id for unit in train}
    score = tuple(
        unit
        for unit in todo.score
        if unit.unit_id not in failed and not (unit.adapter and unit.adapter.adapter_id in lost)
    )
    had = {unit.unit_id for unit in todo.train} | {unit.unit_id for unit in todo.score}
    return replace(todo, train=train, score=score), sorted(had.intersection(failed))


def batches(units: Sequence[ScoreUnit], size: int) -> list[tuple[ScoreUnit, ...]]:
    """Score units to hand to an evaluator together: of one model, at most `size`, in order.

    Adapters that have few units left share a batch; one that has many has batches of its own.
    """
    parts: list[list[ScoreUnit]] = []
    for unit in units:
        if not parts or len(parts[-1]) == size or _subject(parts[-1][0]) != _subject(unit):
            parts.append([])
        parts[-1].append(unit)
    groups: list[list[ScoreUnit]] = []
    for part in parts:
        if groups and groups[-1][0].model == part[0].model and len(groups[-1]) + len(part) <= size:
            groups[-1] += part
        else:
            groups.append(part)
    return [tuple(group) for group in groups]


def _subject(unit: ScoreUnit) -> tuple[str, str | None]:
    return unit.model, unit.adapter.adapter_id if unit.adapter else None
