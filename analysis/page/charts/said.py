"""What a figure shows, in words and numbers, for who hears the page instead of seeing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

MOST = 6  # parts of a sentence; the table beside a figure has all


def signed(value: object) -> str:
    """A Δ with its sign."""
    return f"{value:+.2f}".replace("-", "−") if isinstance(value, float) else "unknown"


def listed(parts: Iterable[str]) -> str:
    """The first parts, and how many more there are."""
    every = list(parts)
    more = [f"and {len(every) - MOST:,} more in the table"] if len(every) > MOST else []
    return "; ".join([*every[:MOST], *more])


def extremes(frame: pl.DataFrame, names: Sequence[str], value: str, between: str = "/") -> str:
    """The highest and the lowest of some rows, each by its names."""
    known = frame.drop_nulls(value).sort(value, *names)
    if not known.height:
        return "no value is known"

    def one(row: dict[str, object]) -> str:
        return f"{signed(row[value])} ({between.join(str(row[name]) for name in names)})"

    lowest, highest = known.row(0, named=True), known.row(-1, named=True)
    return f"from {one(lowest)} to {one(highest)}"


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
