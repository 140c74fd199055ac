"""What a study will come to, from its sizes alone: no model, no data, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from orchestrator.devices import PEAK_FLOPS, SCORE, TRAIN, UTILISATION
from orchestrator.measured import FLOPS, WHOLE_TRAIN_FLOPS, train_flops
from orchestrator.tables import hours_of, table_of
from study.config import ModelConfig, StudyConfig
from study.errors import ConfigError
from study.sizes import CellSize, Sizes

DEVICES = ("H100", "H200", "A100")


@dataclass(frozen=True)
class Outlook:
    """One model's part of a study: adapters to train, scores of these and of those that exist already, of the base.

    `flops` are those of training and scoring together.
    """

    model: str
    adapters: int
    adapter_scores: int
    base_scores: int
    train_tokens: int
    score_tokens: int
    flops: float

    def hours(self, device: str) -> float:
        return self.flops / (UTILISATION * PEAK_FLOPS[device]) / 3600


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
    per_token = train_flops(config.recipe.lora is not None)
    flops = float(sizes.params[name]) * (per_token * train + FLOPS[SCORE] * score)
    return Outlook(name, adapters, subjects * len(targets), len(targets), train, score, flops)


def show(title: str, rows: Sequence[Outlook], sizes: Sizes, console: Console, device: str, price: float | None) -> None:
    """Print the table, with the cost on a device at a price per hour where there is one, and what it rests on."""
    devices = list(dict.fromkeys([*DEVICES, device]))
    columns = ["adapters", "adapter scores", "base scores", "tokens to train on", "tokens to score"]
    columns += [f"{one} hours" for one in devices] + ([f"cost on {device}"] if price is not None else [])
    table = table_of("model", *columns, title=title)
    total = Outlook(
        "all",
        *(sum(getattr(row, name) for row in rows) for name in ("adapters", "adapter_scores", "base_scores")),
        *(sum(getattr(row, name) for row in rows) for name in ("train_tokens", "score_tokens", "flops")),
    )
    for row in (*rows, total):
        if row is total:
            table.add_section()
        hours = (hours_of(row.hours(one)) for one in devices)
        table.add_row(
            row.model, *_numbers(row), *hours, *([] if price is None else [f"{row.hours(device) * price:,.2f}"])
        )
    console.print(table)
    for line in (
        f"{total.adapters:,} adapters, {total.adapter_scores:,} adapter scores, {total.base_scores:,} base scores",
        f"hours: {FLOPS[TRAIN]} FLOPs per parameter and token in training ({WHOLE_TRAIN_FLOPS} of all weights), "
        f"{FLOPS[SCORE]} in scoring, at "
        f"{UTILISATION:.0%} of the device's bf16 peak (assumed)",
        *sizes.notes,
    ):
        console.print(line, soft_wrap=True, highlight=False)


def _numbers(row: Outlook) -> tuple[str, ...]:
    counts = (row.adapters, row.adapter_scores, row.base_scores, row.train_tokens, row.score_tokens)
    return tuple(f"{number:,}" for number in counts)
