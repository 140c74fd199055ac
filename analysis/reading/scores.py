"""Scores as lm-eval aggregates them: one row per unit and metric, whatever items say of it.

Invariant: every metric of every current unit is here, so that none vanishes for having no value per item.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import polars as pl

from analysis.frames import SOURCE, TARGET
from analysis.reading.panels import Panel

TOLD = ["metric", "value", "n_items", "higher_is_better", "headline", "replicates"]
# where claims are about a metric
FROM_ITEMS, GRADED, FROM_DRAWS, OF_TEXT, NONE = "significance", "graded", "corpus", "text_loss", "none"


def score_rows(
    rows: pl.DataFrame, units: pl.DataFrame, panels: Sequence[Panel], texts: Collection[str] = ()
) -> pl.DataFrame:
    """`unit`, TOLD and `claims`: the table that makes claims about the metric; null where it is not told.

    `rows` are those of the store, of which a unit that ran twice has two; `texts` names what is raw text.
    """
    newest = rows.sort("written_at").unique(["score_id", "metric"], keep="last", maintain_order=True)
    found = newest.select("score_id", *TOLD).join(units.select("score_id", "unit"), on="score_id", how="inner")
    tables = [OF_TEXT if p.task in texts else GRADED if p.metric else FROM_ITEMS for p in panels for _ in p.units]
    place = pl.Series("place", tables)
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


def beside_base(scores: pl.DataFrame, units: pl.DataFrame) -> pl.DataFrame:
    """Rows of trained adapters that have draws of the items, with what the base has of the same metric (`base_…`).

    `comparable`: whether the base has draws of as many items; else they are not the same draws. `who` tells adapters
    without a seed apart.
    """
    who = pl.when(pl.col("seed").is_null()).then(pl.col("adapter_id")).alias("who")
    about = units.select("unit", "model", *SOURCE, "seed", who, *TARGET, "kind")
    rows = scores.filter(pl.col("replicates").is_not_null()).join(about, on="unit", how="inner")
    key = ["model", *TARGET, "metric"]
    sides = (pl.col(name).alias(f"base_{name}") for name in ("value", "replicates", "n_items"))
    base = rows.filter(pl.col("kind") == "base").select(*key, *sides)
    mine = rows.filter(pl.col("kind") == "trained").join(base, on=key, how="left", maintain_order="left")
    return mine.with_columns((pl.col("n_items") == pl.col("base_n_items")).fill_null(False).alias("comparable"))


def of_sizes(
    tables: Mapping[str, Sequence[Panel]], metrics: pl.DataFrame, units: pl.DataFrame
) -> list[tuple[int, str]]:
    """How many score units of samples are in learning curves that are of no accuracy."""
    samples = units.filter(pl.col("kind") == "sample", pl.col("score").is_null())
    scored = [unit for panel in tables.get("graded", ()) for unit in panel.scored.tolist()]
    graded = samples.filter(pl.col("unit").is_in(scored))
    rest = samples.join(graded, on="unit", how="anti")
    called = units.with_columns(
        pl.when(pl.col("kind") == "sample").then(pl.lit("trained")).otherwise("kind").alias("kind")
    )
    drawn = beside_base(metrics.filter(pl.col("headline")), called).filter("comparable") if metrics.height else metrics
    in_draws = rest.join(drawn, on="unit", how="semi").height if drawn.height else 0
    return [(graded.height, "graded_curve"), (in_draws, "corpus_curve")]


def count_drawn(rows: pl.DataFrame) -> Iterator[tuple[int, str]]:
    """Rows that have draws beside a base that cannot be compared, and why."""
    what, bare = "score units of metrics of all items together", pl.col("base_replicates").is_null()
    yield rows.filter(bare).height, f"{what} whose base has no draws of the items: no claim is made, see `metrics`"
    yield (
        rows.filter(~bare, ~pl.col("comparable")).height,
        f"{what} whose base was scored on another number of items: no claim is made, see `metrics`",
    )
