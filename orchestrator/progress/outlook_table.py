"""Prints what a study will come to: a row per model, the hours on some devices, and what the numbers assume.

Each table fits 80 columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from orchestrator.costs.devices import SCORE, TRAIN
from orchestrator.costs.outlook import Outlook, total
from orchestrator.progress.tables import hours_of, line, table_of
from study.data.sizes import Sizes
from study.flops import FORWARD, LORA_TRAINING, UTILISATION, UTILISATIONS, WHOLE_TRAINING

DEVICES = ("H100", "H200", "A100", "L40S")


def show(
    title: str,
    rows: Sequence[Outlook],
    sizes: Sizes,
    console: Console,
    on: Mapping[str, str],
    price: float | None,
) -> None:
    """Print the table, with the cost at a price per device hour where there is one, and what is assumed.

    `on` names each stage's device.
    """
    devices = list(dict.fromkeys([*DEVICES, *on.values()]))
    work = ["adapters", "adapter\nscores", "base\nscores", "to train,\nM tokens", "to score,\nM tokens"]
    time = [*devices]
    time += ["cost on\n" + " and\n".join(dict.fromkeys(on.values()))] if price is not None else []
    whole = total(rows)
    tables = (
        table_of("model", *work, title=title),
        table_of("model", *time, title="hours on one device"),
    )
    for row in (*rows, whole):
        hours = [hours_of(row.hours(one, one)) for one in devices]
        cost = [] if price is None else [f"{row.hours(on[TRAIN], on[SCORE]) * price:,.2f}"]
        for table, cells in zip(tables, (_numbers(row), (*hours, *cost)), strict=True):
            if row is whole:
                table.add_section()
            table.add_row(row.model, *cells)
    for table in tables:
        console.print(table)
    for told in (
        f"{whole.adapters:,} adapters, {whole.adapter_scores:,} adapter scores, {whole.base_scores:,} base scores",
        f"hours: {LORA_TRAINING} FLOPs per token and parameter outside the embeddings in training ({WHOLE_TRAINING} of "
        f"all weights), {FORWARD} in scoring, at {UTILISATION:.0%} of the device's bf16 peak (assumed)",
        _how_sure(whole),
        *(_ranges(whole, device) for device in devices),
        *_one_by_one(whole),
        *sizes.notes,
    ):
        line(console, told)


def _how_sure(whole: Outlook) -> str:
    """What the ends of the ranges below it are."""
    worst, best = (f"{share:.0%} of the peak" for share in UTILISATIONS)
    if whole.within == 1:
        return f"from {best} to {worst}:"
    most = "in training at most each example's greatest length"
    return f"from {best} with fewer tokens to {worst} with more, by a factor of {whole.within:g} (assumed), {most}:"


def _ranges(whole: Outlook, device: str) -> str:
    """Training and scoring on a device, each at least and at most."""
    train, score = whole.train_range(device), whole.score_range(device)
    return f"{device}: {_to(train)} hours of training, {_to(score)} of scoring"


def _to(ends: tuple[float, float]) -> str:
    return " to ".join(map(hours_of, ends))


def _one_by_one(whole: Outlook) -> list[str]:
    """What gangs and shared prompts save."""
    if not whole.train_flops:
        return []
    padded = f"each training alone, rows padded to their greatest length: {whole.padded_flops / whole.train_flops:.1f} "
    told = [f"one by one it would be: {padded}times the computing of training"]
    if whole.apart is not None:
        more = whole.apart_flops / whole.score_flops
        told.append(f"each option read with its prompt: {more:.1f} times that of scoring")
    told.append(f"a base loaded {2 * whole.adapters:,} times, to train and to score each adapter")
    return ["; ".join(told)]


def _numbers(row: Outlook) -> tuple[str, ...]:
    counts = (f"{count:,}" for count in (row.adapters, row.adapter_scores, row.base_scores))
    return (*counts, *(f"{tokens / 1e6:,.1f}" for tokens in (row.train_tokens, row.score_tokens)))
