"""Every metric of every score, as lm-eval aggregates it: what no other table holds is here.

Nothing is averaged over metrics or targets, whose units differ. `claims` says which table makes claims about a row;
`none` is a metric that is kept beside the headline, or one that has neither a value for an item nor draws of the items.
"""

from __future__ import annotations

import polars as pl

from analysis.frames import CELL_WORDS, KEYS, MODEL_WORDS, SOURCE, TARGET, Table, need
from analysis.reading.study import Study
from analysis.reading.transfer import with_regime
from analysis.reading.translations import KIND as TRANSLATED


def metrics(study: Study) -> pl.DataFrame:
    """One row per model, source, target and metric, seeds averaged; NotComputable without scores beside a base's."""
    need(study.scores.height > 0, "no scores are known, only what was made of them")
    about = study.units.select("unit", "model", *SOURCE, "seed", *TARGET, "kind")
    rows = study.scores.join(about, on="unit", how="inner")
    base = rows.filter(pl.col("kind") == "base").select("model", *TARGET, "metric", pl.col("value").alias("base"))
    trained = rows.filter(pl.col("kind").is_in(["trained", TRANSLATED]))
    mine = trained.join(base, on=["model", *TARGET, "metric"], how="inner")
    need(mine.height > 0, "no adapter with a source cell has been scored on a target that the base was scored on")
    better = pl.col("higher_is_better").first().replace_strict({True: "higher", False: "lower"}, default=None)
    table = mine.group_by([*KEYS, "metric"]).agg(
        better.alias("better"),
        pl.col("headline").first(),
        pl.col("value").mean(),
        pl.col("base").first(),
        (pl.col("value") - pl.col("base")).mean().alias("change"),
        (pl.col("value") - pl.col("base")).std().alias("change_sd"),
        pl.len().cast(pl.Int64).alias("n_seeds"),
        pl.col("n_items").min(),
        pl.col("claims").first(),
    )
    return with_regime(table, study.joint).select(*COLUMNS).sort(*KEYS, "metric")


COLUMNS = {
    **MODEL_WORDS,
    **CELL_WORDS,
    "metric": "lm-eval's name; after a comma the filter, where it is not the task's first",
    "better": "whether a higher or a lower value is better, as the task says",
    "headline": "whether it speaks for the target; null in scores of an older release",
    "value": "the metric, mean over seeds, in its own unit",
    "base": "the same of the base",
    "change": "value − base, in the metric's own unit and direction",
    "change_sd": "its sample standard deviation over seeds; null with one seed",
    "n_seeds": "seeds averaged",
    "n_items": "items scored, the fewest over seeds",
    "claims": "the table that makes claims about it; none: it has no value per item and no draws, or is kept beside",
}
TABLES = (Table[Study]("metrics", "Every metric", "all rows, metric by metric", COLUMNS, metrics),)
