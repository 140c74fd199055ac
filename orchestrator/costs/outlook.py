"""What a study will come to, from its sizes alone: no model, no data, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from adapters.kinds.kind import kind_of
from orchestrator.costs.devices import SCORE, TRAIN
from orchestrator.progress.tables import hours_of, table_of
from study.config import ModelConfig, StudyConfig
from study.data.sizes import CellSize, Sizes
from study.errors import ConfigError
from study.flops import FORWARD, LORA_TRAINING, PEAK_FLOPS, UTILISATION, WHOLE_TRAINING

DEVICES = ("H100", "H200", "A100")


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
        return sum(
            flops / (UTILISATION * PEAK_FLOPS[device]) / 3600
            for flops, device in ((self.train_flops, train_on), (self.score_flops, score_on))
        )


def outlook(config: StudyConfig, sizes: Sizes) -> list[Outlook]:
    """Raises ConfigError where the sizes lack a model or a cell."""
    return [_of_model(config, sizes, entry) for entry in config.models]


def _of_model(config: StudyConfig, sizes: Sizes, entry: ModelConfig) -> Outlook:
    name = entry.name or entry.id.rstrip("/").rsplit("/", 1)[-1]
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
    to_train, to_score = params * kind_of(config.recipe).train_flops * train, params * FORWARD * score
    return Outlook(name, adapters, subjects * len(targets), len(targets), train, score, to_train, to_score)


def show(
    title: str,
    rows: Sequence[Outlook],
    sizes: Sizes,
    console: Console,
    on: Mapping[str, str],
    price: float | None,
) -> None:
    """Print the table, with the cost at a price per device hour where there is one, and what it rests on.

    `on` names each stage's device.
    """
    devices = list(dict.fromkeys([*DEVICES, *on.values()]))
    columns = ["adapters", "adapter scores", "base scores", "tokens to train on", "tokens to score"]
    columns += [f"{one} hours" for one in devices]
    columns += [f"cost on {' and '.join(dict.fromkeys(on.values()))}"] if price is not None else []
    table = table_of("model", *columns, title=title)
    total = Outlook(
        "all",
        *(sum(getattr(row, name) for row in rows) for name in ("adapters", "adapter_scores", "base_scores")),
        *(
            sum(getattr(row, name) for row in rows)
            for name in ("train_tokens", "score_tokens", "train_flops", "score_flops")
        ),
    )
    for row in (*rows, total):
        if row is total:
            table.add_section()
        hours = (hours_of(row.hours(one, one)) for one in devices)
        cost = [] if price is None else [f"{row.hours(on[TRAIN], on[SCORE]) * price:,.2f}"]
        table.add_row(row.model, *_numbers(row), *hours, *cost)
    console.print(table)
    for line in (
        f"{total.adapters:,} adapters, {total.adapter_scores:,} adapter scores, {total.base_scores:,} base scores",
        f"hours: {LORA_TRAINING} FLOPs per parameter and token in training ({WHOLE_TRAINING} of all weights), "
        f"{FORWARD} in scoring, at "
        f"{UTILISATION:.0%} of the device's bf16 peak (assumed)",
        *sizes.notes,
    ):
        console.print(line, soft_wrap=True, highlight=False)


def _numbers(row: Outlook) -> tuple[str, ...]:
    counts = (row.adapters, row.adapter_scores, row.base_scores, row.train_tokens, row.score_tokens)
    return tuple(f"{number:,}" for number in counts)
