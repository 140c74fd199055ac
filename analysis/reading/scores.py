"""Scores as lm-eval aggregates them: one row per unit and metric, whatever items say of it.

Invariant: every metric of every current unit is here, so that none vanishes for having no value per item.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.reading.panels import Panel

TOLD = ["metric", "value", "n_items", "higher_is_better", "headline", "replicates"]
FROM_ITEMS, GRADED, FROM_DRAWS, NONE = "significance", "graded", "corpus", "none"  # where claims are about a metric


def score_rows(rows: pl.DataFrame, units: pl.DataFrame, panels: Sequence[Panel]) -> pl.DataFrame:
    """`unit`, TOLD and `claims`: the table that makes claims about the metric; null where it is not told.

    `rows` are those of the store, of which a unit that ran twice has two.
    """
    newest = rows.sort("written_at").unique(["score_id", "metric"], keep="last", maintain_order=True)
    found = newest.select("score_id", *TOLD).join(units.select("score_id", "unit"), on="score_id", how="inner")
    place = pl.Series("place", [GRADED if panel.metric else FROM_ITEMS for panel in panels for _ in panel.units])
    unit = pl.Series("unit", [unit for panel in panels for unit in panel.units.tolist()], pl.Int64)
    known = pl.DataFrame([unit, place.cast(pl.String)])
    claims = (
        pl.when(pl.col("replicates").is_not_null())
        .then(pl.lit(FROM_DRAWS))
        .when(pl.col("headline"))
        .then(pl.col("place").fill_null(NONE))
        .when(pl.col("headline").is_not_null())
        .then(pl.lit(NONE))
    )
    joined = found.drop("score_id").join(known, on="unit", how="left", maintain_order="left")
    return joined.with_columns(claims.alias("claims")).drop("place").sort("unit", "metric")
