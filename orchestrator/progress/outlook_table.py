"""Prints what a study will come to: a row per model, the hours on some devices, and what the numbers assume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from orchestrator.costs.devices import SCORE, TRAIN
from orchestrator.costs.outlook import Outlook
from orchestrator.progress.tables import hours_of, table_of
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
        f"{FORWARD} in scoring, at {UTILISATION:.0%} of the device's bf16 peak (assumed)",
        *(_apart(total, device) for device in devices),
        *sizes.notes,
    ):
        console.print(line, soft_wrap=True, highlight=False)


def _apart(total: Outlook, device: str) -> str:
    """Training and scoring on a device, and what both take when it is used worse or better than assumed."""
    train, score = total.train_hours(device), total.score_hours(device)
    worst, best = UTILISATIONS
    low, high = ((train + score) * UTILISATION / share for share in (best, worst))
    return (
        f"{device}: {hours_of(train)} hours of training, {hours_of(score)} of scoring; "
        f"{hours_of(low)} to {hours_of(high)} in all at {best:.0%} to {worst:.0%} of the peak"
    )


def _numbers(row: Outlook) -> tuple[str, ...]:
    counts = (row.adapters, row.adapter_scores, row.base_scores, row.train_tokens, row.score_tokens)
    return tuple(f"{number:,}" for number in counts)
