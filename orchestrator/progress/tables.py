"""What a person reads of a study on a terminal: the plan, its cost, how far it is, what failed."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from orchestrator.costs.estimate import Cost, sum_of
from orchestrator.planning.standing import Standing
from study.plain import plain
from study.store.records import FailureRecord

WIDE = 200  # characters, where nobody has a terminal's edge to see
NAMED = 4  # characters that a name has in a line, even where numbers have to be broken


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


def line(on: Console, text: str, style: str | None = None) -> None:
    """Print a sentence: a terminal breaks it between words, a pipe gets it as one line."""
    on.print(text, style=style, highlight=False, soft_wrap=not on.is_terminal)


def warn(on: Console, text: str) -> None:
    """Tell of something that a run can do without."""
    line(on, text, "yellow")


class _Numbers(Table):
    """A table of names and numbers. Nothing is cut off: names are broken, and numbers only where names had no room."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        texts = ([str(column.header), *map(str, column.cells)] for column in self.columns[1:])
        widths = [max(len(line) for text in some for line in text.split("\n")) for some in texts]
        needed = sum(width + 3 for width in (NAMED, *widths)) + 1  # a blank on both sides and a line, as Rich draws
        for column in self.columns[1:]:
            column.no_wrap = needed <= options.max_width
        return super().__rich_console__(console, options)


def table_of(*columns: str, title: str | None = None, caption: str | None = None) -> Table:
    """A table whose first column names, and is broken, never cut off, where there is no room; others are numbers."""
    first, *others = columns
    headed = [Column(first, overflow="fold"), *(Column(name, overflow="fold", justify="right") for name in others)]
    return _Numbers(*headed, title=title, caption=caption, title_justify="left")


def standing_table(
    title: str, rows: Sequence[Standing], seconds_left: Mapping[str, float | None] | None = None
) -> Table:
    """Per model: adapters and scores (the cells of its matrix) done, stale (of an older config, ignored), kept as they
    failed, and to do; done, failed and to do add up. With `seconds_left` also the device hours that are left."""
    hours = [] if seconds_left is None else ["device\nhours left"]
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
    """Per model: tokens and device hours left, and what they cost at a price per hour."""
    columns = ["to train,\nM tokens", "to score,\nM tokens", "device\nhours", "of them\nloading"]
    table = table_of("model", *columns, *(["cost"] if price is not None else []))
    for cost in costs:
        table.add_row(*_cost_row(cost, price))
    if len(costs) > 1:
        table.add_section()
        table.add_row(*_cost_row(sum_of(costs), price))
    return table


def _cost_row(cost: Cost, price: float | None) -> list[str]:
    money = [f"{cost.hours * price:,.2f}"] if price is not None else []
    hours = [hours_of(cost.hours), hours_of(cost.load_s / 3600)]
    return [cost.model, *(hours_of(tokens / 1e6) for tokens in (cost.train_tokens, cost.score_tokens)), *hours, *money]


def estimated(costs: Sequence[Cost]) -> Iterator[str]:
    """The device hours, and what they go by, in a line for all models of which it is the same."""
    yield f"estimated: {hours_of(sum_of(costs).hours)} device hours, corrected by what is measured while it runs"
    models: dict[str, list[str]] = {}
    for cost in costs:
        models.setdefault(cost.basis, []).append(cost.model)
    for basis, own in models.items():
        yield f"{'  of all models' if len(models) == 1 else '  of ' + ', '.join(own)}: {basis}"


def alike(failure: FailureRecord) -> tuple[str, str]:
    """What failures that are alike share: a kind, and a message of which only the numbers differ, as a step's."""
    return failure.kind, re.sub(r"\d+", "#", failure.message)


def failure_table(failures: Iterable[FailureRecord]) -> Table:
    """What failed and why, from failure records: a row for all that failed alike, as the first of them did."""
    rows = list(failures)
    groups: dict[tuple[int, tuple[str, str]], list[FailureRecord]] = {}
    for failure in rows:
        groups.setdefault((failure.attempts, alike(failure)), []).append(failure)
    columns = (Column(name, overflow="fold") for name in ("unit", "kind", "attempts", "reason"))
    table = Table(*columns, title=f"{len(rows):,} failed", title_justify="left")
    for first, *others in groups.values():
        more = f" and {len(others):,} more" if others else ""
        table.add_row(f"{first.unit}{more}", first.kind, str(first.attempts), first.message)
    return table


def kept_failed(failures: Sequence[FailureRecord]) -> str:
    """What of the plan is not tried again, by kind."""
    kinds = Counter(failure.kind for failure in failures)
    counts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
    return f"left as they failed: {len(failures):,} units ({counts}), which would fail again; --retry-failed tries them"
