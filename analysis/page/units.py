"""The telling lines of targets without an accuracy: what is sure by each metric, of answers' language, of raw text.

Units are never mixed.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from analysis.frames import KEYS
from analysis.page.words import WRONG, Row, called, count, signed
from analysis.statistics.significance import claimed
from analysis.tables.registry import Made

PICKED = "What is named for its depth is deep partly by luck, which no interval allows for: expect less"
IN_LANGUAGE = "the share in the language that was asked for"


def lines(made: dict[str, Made]) -> Iterator[str]:
    """One per table that has something to say, raw text before graded metrics, or nothing."""
    yield _texts(made["text_loss"].frame)
    yield _others(made["graded"].frame, "Graded metrics")
    yield _others(made["corpus"].frame, "Metrics of the whole corpus")
    answers = made["wrong_language"].frame
    named = None if answers is None else answers.with_columns(metric=pl.lit(IN_LANGUAGE), unit=pl.lit("points"))
    yield _others(named, "Answers in another language")


def _texts(table: pl.DataFrame | None) -> str:
    """How far sources of raw text read their own held-out texts better, and others'."""
    if table is None:
        return ""
    is_own = (pl.col("source_task") == pl.col("target_task")) & (pl.col("source_language") == pl.col("target_language"))
    own, said = table.filter(is_own), "their own held-out texts"
    if not own.height:
        return ""
    each = " (each model counted)" if own["model"].n_unique() > 1 else ""
    sure = own.filter(pl.col("high") < 0).height
    mean = f"{signed(float(own['difference'].mean()))} bits per byte"  # type: ignore[arg-type]
    of = f"of {count(own.height, 'source')} of texts{each} {sure:,} read {said} better beyond chance"
    return f"Raw text: {of}, {mean} on average (less is better; each by its own 95 % interval)."


def of_these(rows: pl.DataFrame) -> str:
    """What claims of single cells are about, where it is not what such training does."""
    return " of these adapters" if "this adapter" in rows["about"] else ""


def ends_of(row: Row, several: bool) -> str:
    """A cell by its source and target, and by its model where there are `several`."""
    source, target = (f"{row[f'{end}_task']}/{row[f'{end}_language']}" for end in ("source", "target"))
    return f"{row['model']}: {source} on {target}" if several else f"{source} on {target}"


def _others(table: pl.DataFrame | None, kind: str) -> str:
    """What is sure by other metrics than an accuracy, each by itself, with the cell that lost most of those called."""
    if table is None:
        return ""
    own, rows = (table.filter(is_own) for is_own in (pl.col("regime") == "MT-ML", pl.col("regime") != "MT-ML"))
    better = f" Of {count(own.height, 'own cell')} {int(own['better'].sum()):,} can be called better."
    gained = better if own.height else ""
    if not rows.height:
        return f"{kind}:{gained}" if gained else ""
    parts, several = [], rows["model"].n_unique() > 1
    named = rows.filter("worse", ~pl.col("lowest") if "lowest" in rows.columns else True).sort("delta", *KEYS)
    for (metric,), part in rows.group_by("metric", maintain_order=True):
        cells = f"{count(part.height, 'cell')}{of_these(part)}"
        said = f"of {cells} by {metric}, {called(claimed(part), 'what counts as harm')}"
        worst = named.filter(metric=metric)
        parts.append(said + (f"; most of all {_cell(worst.row(0, named=True), several)}" if worst.height else ""))
    wrong = f" {WRONG.capitalize()}." if rows.filter(pl.col("worse") | pl.col("better")).height else ""
    return f"{kind}: {'; '.join(parts)}.{wrong}{gained}{f' {PICKED}.' if named.height else ''}"


def _cell(row: Row, several: bool) -> str:
    """A cell and its Δ in its own unit, with its interval."""
    change, low, high = (f"{row[name]:+.4g}".replace("-", "−") for name in ("delta", "low", "high"))
    return f"{ends_of(row, several)}, {change} {row['unit']} (95 % interval {low} to {high})"
