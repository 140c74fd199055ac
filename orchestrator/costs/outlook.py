"""What a study will come to, from its sizes alone: no model, no data, no network."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.kinds.kind import kind_of as tuning_of
from study.config import ModelConfig, StudyConfig
from study.data.sizes import CellSize, Sizes
from study.errors import ConfigError
from study.flops import FORWARD, PEAK_FLOPS, UTILISATION


@dataclass(frozen=True)
class Outlook:
    """One model's part of a study: adapters to train, scores of these and of those that exist already, of the base.

    `train_flops` and `score_flops` are what these take.
    """

    model: str
    adapters: int
    adapter_scores: int
    base_scores: int
    train_tokens: int
    score_tokens: int
    train_flops: float
    score_flops: float

    def hours(self, train_on: str, score_on: str) -> float:
        """Device hours, on each stage's device."""
        return self.train_hours(train_on) + self.score_hours(score_on)

    def train_hours(self, device: str) -> float:
        return self.train_flops / (UTILISATION * PEAK_FLOPS[device]) / 3600

    def score_hours(self, device: str) -> float:
        return self.score_flops / (UTILISATION * PEAK_FLOPS[device]) / 3600


def outlook(config: StudyConfig, sizes: Sizes) -> list[Outlook]:
    """Raises ConfigError where the sizes lack a model or a cell."""
    return [_of_model(config, sizes, entry) for entry in config.models]


def _of_model(config: StudyConfig, sizes: Sizes, entry: ModelConfig) -> Outlook:
    name = entry.called
    if name not in sizes.params:
        raise ConfigError("models", name, "is not among the sizes", "count them: python -m study.sizes CONFIG")

    def size(cell: object) -> CellSize:
        found = sizes.cell(name, str(cell))
        if found is None:
            raise ConfigError("tasks", cell, "is not among the sizes", "count them: python -m study.sizes CONFIG")
        return found

    sources, targets, seeds = config.source_list(), config.target_list(), len(config.seeds)
    adapters = len(sources) * seeds
    subjects = adapters + sum(given.model in (name, entry.id) for given in config.adapters)
    once = sum(size(c).learned(config.task(c.task).train.limit) for s in sources for c in s.cells)
    train = once * seeds * config.recipe.epochs
    score = sum(size(cell).read(config.scoring.limit) for cell in targets) * (subjects + 1)
    params = float(sizes.params[name])
    to_train, to_score = params * tuning_of(config.recipe).train_flops * train, params * FORWARD * score
    return Outlook(name, adapters, subjects * len(targets), len(targets), train, score, to_train, to_score)
