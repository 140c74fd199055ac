"""What a person reads of a study on a terminal: the plan, its cost, how far it is, what failed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import IO, Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from orchestrator.costs.estimate import Cost, sum_of
from orchestrator.planning.standing import Standing
from study.plain import plain
from study.store.records import FailureRecord

WIDE = 200  # characters, where nobody has a terminal's edge to see


class PlainConsole(Console):
    """A console on which text means itself, in tables too: no markup, no emoji's code, nothing a terminal obeys."""

    def __init__(self, width: int | None = None, file: IO[str] | None = None) -> None:
        super().__init__(width=width, file=file, markup=False, emoji=False)

    def render_str(self, text: str, **how: Any) -> Text:
        """All text that Rich shows comes by here."""
        return super().render_str(plain(text), **how)


def console(file: IO[str] | None = None) -> Console:
    """A terminal as wide as it is; a pipe or a file so wide that tables are whole. Standard output, or another one."""
    found = PlainConsole(file=file)
    return found if found.is_terminal or "COLUMNS" in os.environ else PlainConsole(WIDE, file)


def warn(on: Console, text: str) -> None:
    """Tell of something that a run can do without."""
    on.print(text, style="yellow", soft_wrap=True)


def table_of(*columns: str, title: str | None = None, caption: str | None = None) -> Table:
    """A table whose cells are broken, never cut off, where it is too narrow; the first column names, others count."""
    first, *others = columns
    headed = [Column(first, overflow="fold"), *(Column(name, overflow="fold", justify="right") for name in others)]
    return Table(*headed, title=title, caption=caption, title_justify="left")


def standing_table(
    title: str, rows: Sequence[Standing], seconds_left: Mapping[str, float | None] | None = None
) -> Table:
    """Per model: adapters and scores (the cells of its matrix) done, stale (of an older config, ignored), kept as they
    failed, and to do; done, failed and to do add up. With `seconds_left` also the device hours that are left."""
    hours = [] if seconds_left is None else ["device hours left"]
    table = table_of("model", "of", "done", "stale", "failed", "to do", *hours, title=title)
    for row in rows:
        left = [] if seconds_left is None else [_hours_left(seconds_left[row.model])]
        table.add_row(row.model, "adapters", *(f"{number:,}" for number in astuple(row.adapters)), *left)
        table.add_row("", "scores", *(f"{number:,}" for number in astuple(row.scores)))
    return table


def _hours_left(seconds: float | None) -> str:
    return "unknown" if seconds is None else hours_of(seconds / 3600)


def hours_of(hours: float) -> str:
    """Hours with as many digits as matter."""
    if 0 < hours < 0.001:
        return "< 0.001"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 10 else f"{hours:.3f}"


def cost_table(costs: Sequence[Cost], price: float | None) -> Table:
    """Per model: tokens and device hours left, and what they cost at a price per hour. The caption says the basis."""
    columns = [
        "model",
        "tokens to train on",
        "tokens to score",
        "device hours",
        "of them loading",
        *(["cost"] if price is not None else []),
    ]
    table = table_of(*columns, caption="\n".join(f"{cost.model}: {cost.basis}" for cost in costs))
    table.caption_justify = "left"
    for cost in costs:
        table.add_row(*_cost_row(cost, price))
    if len(costs) > 1:
        table.add_section()
        table.add_row(*_cost_row(sum_of(costs), price))
    return table


def _cost_row(cost: Cost, price: float | None) -> list[str]:
    money = [f"{cost.hours * price:,.2f}"] if price is not None else []
    hours = [hours_of(cost.hours), hours_of(cost.load_s / 3600)]
    return [cost.model, f"{cost.train_tokens:,}", f"{cost.score_tokens:,}", *hours, *money]


def failure_table(failures: Iterable[FailureRecord]) -> Table:
    """What failed and why, from failure records."""
    rows = list(failures)
    columns = (Column(name, overflow="fold") for name in ("unit", "kind", "attempts", "reason"))
    table = Table(*columns, title=f"{len(rows)} failed", title_justify="left")
    for failure in rows:
        table.add_row(failure.unit, failure.kind, str(failure.attempts), failure.message)
    return table


def kept_failed(failures: Sequence[FailureRecord]) -> str:
    """What of the plan is not tried again, by kind."""
    kinds = Counter(failure.kind for failure in failures)
    counts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
    return f"left as they failed: {len(failures):,} units ({counts}), which would fail again; --retry-failed tries them"
