"""The grid: every unit a config asks for, each named by its identity.

Scores are written as adapters × targets and become units, with their ids, only when somebody asks for them: a study may
have 100,000 adapters and 100 million scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import pyarrow as pa

from study import schema
from study.cells import Cell, Source
from study.config import Scoring, StudyConfig
from study.identity import adapter_ids, score_ids
from study.models import Model
from study.units import AdapterUnit, GivenAdapter, ScoreUnit

PARTS_PER_TABLE = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """Scores of one adapter, or of the base where it is None: on which targets, as indices into the grid's."""

    model: Model
    adapter: AdapterUnit | GivenAdapter | None
    targets: Sequence[int]

    @property
    def subject(self) -> str:
        """What the scores are of: the adapter's id, or the base model's identity."""
        return self.adapter.adapter_id if self.adapter else self.model.identity

    def __str__(self) -> str:
        return str(self.adapter or self.model.name + "/base")


@dataclass(frozen=True)
class Grid:
    """Every unit the config asks for, in the order in which it should be done. `prints` are the targets' data."""

    models: tuple[Model, ...]
    targets: tuple[Cell, ...]
    prints: tuple[str, ...]
    scoring: Scoring
    adapters: tuple[AdapterUnit, ...]
    existing: tuple[GivenAdapter, ...] = ()

    @property
    def n_scores(self) -> int:
        return (len(self.models) + len(self.existing) + len(self.adapters)) * len(self.targets)

    def parts(self) -> Iterator[Part]:
        """All scores: model by model, the base first, then adapters that need no training, then the trained ones."""
        everything = range(len(self.targets))
        of_model: dict[str, list[AdapterUnit | GivenAdapter]] = {model.name: [] for model in self.models}
        for given in self.existing:
            of_model[given.model].append(given)
        for trained in self.adapters:
            of_model[trained.model].append(trained)
        for model in self.models:
            yield Part(model, None, everything)
            for adapter in of_model[model.name]:
                yield Part(model, adapter, everything)

    @cached_property
    def names(self) -> tuple[Callable[[str], str], ...]:
        """For each target a function from what is scored to the score's id."""
        return tuple(score_ids(print_, self.scoring) for print_ in self.prints)

    def unit(self, part: Part, target: int) -> ScoreUnit:
        name = self.names[target](part.subject)
        return ScoreUnit(name, part.model.name, part.model.params, part.adapter, self.targets[target])

    def units(self, part: Part) -> list[ScoreUnit]:
        return [self.unit(part, target) for target in part.targets]

    def tables(self) -> Iterator[pa.Table]:
        """The grid as tables of study.schema.GRID."""
        parts = self.parts()
        while chunk := list(islice(parts, PARTS_PER_TABLE)):
            yield self._table(chunk)

    def _table(self, parts: Sequence[Part]) -> pa.Table:
        """The scores of whole parts. All columns but the ids repeat what a part or a target is."""
        part_of = pa.array(np.repeat(np.arange(len(parts)), len(self.targets)))
        target_of = pa.array(np.tile(np.arange(len(self.targets)), len(parts)))
        keys = [{**ScoreUnit("", p.model.name, p.model.params, p.adapter, Cell("", "")).keys()} for p in parts]
        columns = {
            name: pa.array([key[name] for key in keys], schema.GRID.field(name).type).take(part_of) for name in keys[0]
        }
        columns["model_size"] = pa.array([p.model.size_billions for p in parts], pa.float64()).take(part_of)
        columns["model_family"] = pa.array([p.model.family for p in parts], pa.string()).take(part_of)
        columns["target_task"] = pa.array([cell.task for cell in self.targets], pa.string()).take(target_of)
        columns["target_language"] = pa.array([cell.language for cell in self.targets], pa.string()).take(target_of)
        columns["score_id"] = pa.array([name(part.subject) for part in parts for name in self.names], pa.string())
        return pa.table([columns[name] for name in schema.GRID.names], schema=schema.GRID)


def expand(
    config: StudyConfig,
    models: Sequence[Model],
    sources: Mapping[Source, list[str]],
    targets: Mapping[Cell, str],
    existing: Sequence[GivenAdapter] = (),
) -> Grid:
    """All units of a config. `sources` and `targets` map the usable cells to their data fingerprints.

    Adapters come model by model and seed by seed, so that a full matrix appears early.
    """
    adapters: list[AdapterUnit] = []
    for model in models:
        name = adapter_ids(model.identity, config.recipe)
        adapters += [
            AdapterUnit(name(prints, seed), model.name, source, seed)
            for seed in config.seeds
            for source, prints in sources.items()
        ]
    return Grid(
        tuple(models), tuple(targets), tuple(targets.values()), config.scoring, tuple(adapters), tuple(existing)
    )
