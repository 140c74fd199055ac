"""What a figure shows, in words and numbers, for who hears the page instead of seeing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from analysis.page.words import signed

MOST = 6  # parts of a sentence; the table beside a figure has all


def listed(parts: Iterable[str]) -> str:
    """The first parts, and how many more there are."""
    every = list(parts)
    more = [f"and {len(every) - MOST:,} more in the table"] if len(every) > MOST else []
    return "; ".join([*every[:MOST], *more])


def extremes(frame: pl.DataFrame, names: Sequence[str], value: str, between: str = "/") -> str:
    """The lowest and the highest of some rows, each by its names; of those that are level the first, and how many."""
    levels: dict[str, list[str]] = {}
    for row in frame.drop_nulls(value).sort(value, *names).iter_rows(named=True):
        levels.setdefault(signed(row[value]), []).append(between.join(str(row[name]) for name in names))
    if not levels:
        return "no value is known"
    told = [f"{level} ({of[0]}{f' and {len(of) - 1:,} more' * (len(of) > 1)})" for level, of in levels.items()]
    level, of = next(iter(levels.items()))
    return f"from {told[0]} to {told[-1]}" if len(told) > 1 else told[0] if len(of) == 1 else f"each {level}"


def span(values: pl.Series) -> str:
    """From the lowest of some values to the highest."""
    return f"{signed(values.min())} to {signed(values.max())}"


def trade(frame: pl.DataFrame) -> str:
    """What sources do to their own task and to others."""
    on, off = span(frame["on_task"]), span(frame["off_task"])
    return f"Δ on the own task {on} pp, on other tasks {off} pp"


def course(frame: pl.DataFrame, names: Sequence[str], along: str, value: str) -> str:
    """Where lines begin and end, each by its names."""
    parts = []
    for key, rows in frame.drop_nulls(value).sort(along).group_by(*names, maintain_order=True):
        first, last = rows.row(0, named=True), rows.row(-1, named=True)
        ends = " to ".join(f"{signed(row[value])} at {row[along]:,}" for row in (first, last))
        parts.append(f"{', '.join(map(str, key))}: {ends}")
    return listed(sorted(parts))
