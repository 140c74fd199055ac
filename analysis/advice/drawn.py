"""Advice on a target by a metric that all its items together have: what was measured, with its interval, and no more.

No item has a value of such a metric, so nothing tells how far luck flatters the first of many, or what a source that
was never tried would do.
"""

from __future__ import annotations

import polars as pl

from analysis.advice.advice import Advice
from analysis.frames import SOURCE, TARGET, NotComputable, cell
from analysis.reading.study import Study
from analysis.statistics.corpus import corpus


def drawn(study: Study) -> pl.DataFrame:
    """Rows of `corpus` by the metric that speaks for each target, with `source` and `target` as cells."""
    if not study.scores.height:
        return pl.DataFrame(schema={"target": pl.String})
    try:
        table = corpus(study)
    except NotComputable:
        return pl.DataFrame(schema={"target": pl.String})
    about = study.units.select("unit", *TARGET)
    speaks = study.scores.filter("headline").join(about, on="unit").select("metric", *TARGET).unique()
    named = table.join(speaks, on=["metric", *TARGET], how="semi")
    return named.with_columns(cell(*SOURCE).alias("source"), cell(*TARGET).alias("target"))


def about_drawn(table: pl.DataFrame, target: str) -> Advice:
    """Which sources helped a target most, of those that were tried."""
    mine = table.filter(target=target)
    metric, unit = mine.select("metric", "unit").row(0)
    words = metric if unit == metric else f"{unit} of {metric}"
    several = ["model"] if mine["model"].n_unique() > 1 else []
    shown = ["source", *several, "regime", "delta", "low", "high", "better", "worse", "harmed"]
    said = (
        f"Sources for {target}, highest measured Δ first, {words}, which all items together have and none by itself: "
        "so what to expect of them is not told, the first is flattered by its luck, and nothing is said of what was "
        "not tried:"
    )
    return Advice(said, mine.sort("delta", "source", descending=[True, False]).select(shown))
