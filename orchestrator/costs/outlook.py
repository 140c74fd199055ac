"""What a study will come to, from its sizes alone: no model, no data, no network.

Beside what it will take stands what it would take one by one, as `Trainer` and lm-eval do it: every row padded to its
greatest length, every option read with its prompt. Rows padded so are also the most that training can read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.costs.measured import near_work, train_flops
from study.cells import Cell, Source
from study.config import ModelConfig, StudyConfig
from study.config.expansion import Combination, chosen_on, combinations, held_out, learned
from study.data.sizes import CellSize, Sizes
from study.errors import ConfigError
from study.flops import FORWARD, PEAK_FLOPS, UTILISATION, UTILISATIONS


@dataclass(frozen=True)
class Outlook:
    """One model's part of a study: adapters to train, scores of these and of those that exist already, of the base.

    `train_flops` and `score_flops` are what these take; `padded` and `apart` are tokens to train on and to score one
    by one, with `padded_flops` and `apart_flops`; `apart` is None where the sizes do not say it. True tokens are taken
    to be `within` this factor of those here.
    """

    model: str
    adapters: int
    adapter_scores: int
    base_scores: int
    train_tokens: int
    score_tokens: int
    train_flops: float
    score_flops: float
    padded: int
    padded_flops: float
    apart: int | None
    apart_flops: float
    within: float

    def hours(self, train_on: str, score_on: str) -> float:
        """Device hours, on each stage's device."""
        return self.train_hours(train_on) + self.score_hours(score_on)

    def train_hours(self, device: str) -> float:
        return _hours(self.train_flops, device)

    def score_hours(self, device: str) -> float:
        return _hours(self.score_flops, device)

    def train_range(self, device: str) -> tuple[float, float]:
        """Hours of training at least and at most: by how well the device is used, and how many tokens there are."""
        most = min(self.train_flops * self.within, self.padded_flops)
        return _best(self.train_flops / self.within, device), _worst(most, device)

    def score_range(self, device: str) -> tuple[float, float]:
        """The same of scoring."""
        return _best(self.score_flops / self.within, device), _worst(self.score_flops * self.within, device)


def _hours(flops: float, device: str, utilisation: float = UTILISATION) -> float:
    return flops / (utilisation * PEAK_FLOPS[device]) / 3600


def _best(flops: float, device: str) -> float:
    return _hours(flops, device, UTILISATIONS[1])


def _worst(flops: float, device: str) -> float:
    return _hours(flops, device, UTILISATIONS[0])


def outlook(config: StudyConfig, sizes: Sizes) -> list[Outlook]:
    """Raises ConfigError where the sizes lack a model or a cell."""
    return [_of_model(config, sizes, entry) for entry in config.models]


def total(rows: Sequence[Outlook]) -> Outlook:
    """All models together."""
    apart = [row.apart for row in rows if row.apart is not None]
    return Outlook(
        "all",
        sum(row.adapters for row in rows),
        sum(row.adapter_scores for row in rows),
        sum(row.base_scores for row in rows),
        sum(row.train_tokens for row in rows),
        sum(row.score_tokens for row in rows),
        sum(row.train_flops for row in rows),
        sum(row.score_flops for row in rows),
        sum(row.padded for row in rows),
        sum(row.padded_flops for row in rows),
        sum(apart) if len(apart) == len(rows) else None,
        sum(row.apart_flops for row in rows),
        max(row.within for row in rows),
    )


def _of_model(config: StudyConfig, sizes: Sizes, entry: ModelConfig) -> Outlook:
    name = entry.called
    if name not in sizes.params:
        raise ConfigError("models", name, "is not among the sizes", "count them: python -m study.sizes CONFIG")
    given = {one.name for one in config.adapters if one.model in (name, entry.id)}
    sources = [one for one in _sources(config, sizes, name) if one.root is None or one.root in given]
    silent = len(sources) - len(set(sources) & set(config.source_list()))  # parts and starts alone
    learned = [(source, cell) for source in sources for cell in source.cells]
    targets, seeds, limit = config.target_list(), len(config.seeds), config.scoring.limit
    recipes = len(config.trained_by)
    adapters = len(sources) * seeds * recipes
    shown = sum(max(0, recipe.shown_epochs - 1) for recipe in config.trained_by.values())  # epochs beside the kept one
    scored = (len(sources) - silent) * seeds
    subjects = adapters - silent * seeds * recipes + shown * scored + len(given) + _combined(config)
    subject_count = subjects + 1
    sized = [_size(sizes, name, cell) for _, cell in learned]
    params = float(sizes.body(name))
    train, padded, train_flops, padded_flops = _training(config, learned, sized, params)
    to_score = [_size(sizes, name, cell) for cell in targets]
    score = subject_count * sum(size.read(limit) for size in to_score)
    options_apart = [size.read_apart(limit) for size in to_score]
    known = [count for count in options_apart if count is not None]
    apart = subject_count * sum(known) if len(known) == len(targets) else None
    within = max((size.within or sizes.within for size in (*to_score, *sized)), default=sizes.within)
    per_score, tried = params * FORWARD, _tried(config)
    chosen, fraction = {cell: _size(sizes, name, cell) for cell in tried}, config.held_out_by.fraction
    score += sum((1 + tried[cell]) * size.read_chosen(limit, fraction) for cell, size in chosen.items())
    score += _searched(config, sizes, name)
    scores, of_base = subjects * len(targets) + sum(tried.values()), len(targets) + len(tried)
    return Outlook(
        name, adapters, scores, of_base, train, score, train_flops, per_score * score,
        padded, padded_flops, apart, per_score * (apart or 0), within,
    )  # fmt: skip


def _searched(config: StudyConfig, sizes: Sizes, model: str) -> int:
    """Tokens that are read to search weights: some examples of a cell, as often as weights are tried."""
    read = 0
    for one in combinations(config):
        if one.keys.weights and one.cell:
            keys = one.keys.weights.search
            read += _ways(config, one) * keys.budget * _size(sizes, model, one.cell).learned(keys.examples)
    return read


def _training(
    config: StudyConfig, learned: Sequence[tuple[Source, Cell]], sized: Sequence[CellSize], params: float
) -> tuple[int, int, float, float]:
    """Tokens of all trainings as they are, and each row as long as it may be; and FLOPs of either."""
    tokens, flops = [0, 0], [0.0, 0.0]
    for name, recipe in config.trained_by.items():
        each = [_learning(config, *of, size, name) for of, size in zip(learned, sized, strict=True)]
        for i in (0, 1):
            more = len(config.seeds) * sum(pair[i] for pair in each)
            tokens[i] += more
            flops[i] += params * train_flops(config, recipe) * more * near_work(recipe)
    return tokens[0], tokens[1], flops[0], flops[1]


def _combined(config: StudyConfig) -> int:
    """How many adapters are put together."""
    return sum(len(one.keys.strengths) * _ways(config, one) for one in combinations(config))


def _tried(config: StudyConfig) -> dict[Cell, int]:
    """The cells on whose held-out items a lambda is chosen, and how many adapters are scored on them for that."""
    found, on = dict.fromkeys((replace(cell, held_out=False) for cell in held_out(config)), 0), chosen_on(config)
    for one in combinations(config):
        for cell in on.get(one.name, ()):
            found[cell] += len(one.keys.strengths) * _ways(config, one)
    return found


def _ways(config: StudyConfig, one: Combination) -> int:
    """How often an adapter is put together: per seed and recipe, or once where all parts exist already."""
    is_trained = any(isinstance(part, Source) for part in one.parts)
    return len(config.seeds) * len(config.trained_by) if is_trained else 1


def _sources(config: StudyConfig, sizes: Sizes, model: str) -> list[Source]:
    """What is trained on: of samples those that are less than all examples."""

    def is_part(source: Source, size: int) -> bool:
        (cell,) = source.cells
        return size < _examples(_size(sizes, model, cell), config.task(cell.task).train.limit)

    return [one for one in learned(config) if one.size is None or is_part(one, one.size)]


def _examples(size: CellSize, limit: int | None) -> int:
    return size.examples if limit is None else min(size.examples, limit)


def _size(sizes: Sizes, model: str, cell: Cell) -> CellSize:
    found = sizes.cell(model, str(cell))
    if found is None:
        raise ConfigError("tasks", cell, "is not among the sizes", "count them: python -m study.sizes CONFIG")
    return found


def _learning(config: StudyConfig, source: Source, cell: Cell, size: CellSize, by: str | None) -> tuple[int, int]:
    """Tokens of a source's examples of a cell in a training: as they are, and each row as long as it may be."""
    train, recipe = config.task(cell.task).train, config.recipe_of(source, by)
    longest = train.max_length or recipe.max_length
    limit = dict(zip(source.cells, source.sizes, strict=True))[cell] or train.limit
    examples, tokens = _examples(size, limit), size.learned(limit)
    padded = examples * longest
    if train.format == "text":  # never cut: its chunks are rows, of BOS, text and EOS
        padded = max(examples, math.ceil(tokens / max(1, longest - 2))) * longest
    passes = recipe.passes(examples * len(source.cells))
    return round(passes * min(tokens, padded)), round(passes * padded)
