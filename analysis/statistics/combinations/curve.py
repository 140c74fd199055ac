"""How Δ goes with lambda: on held-out items, which choose it, and on test items, which must not.

*Hindsight* is the lambda that test items would choose: what choosing costs is its Δ less that of the chosen one, and
part of it is luck. Held-out Δ is the mean over the cells that the protocol asks (`strengths`).
"""

from __future__ import annotations

import polars as pl

from analysis.frames import MODEL_WORDS, TARGET, TARGET_WORDS, Table, need
from analysis.reading.study import Study
from analysis.statistics.combinations.reported import (
    CLAIMS,
    all_scales,
    composed_of,
    every_unit,
    unit_deltas,
    within,
)
from analysis.statistics.combinations.strengths import choices
from analysis.statistics.graded import Scale

CURVE = ["model", "name", *TARGET]


def lambda_curve(study: Study) -> pl.DataFrame:
    """One row per composition, target and lambda; NotComputable where no lambda is chosen."""
    composed_of(study)
    units = every_unit(study).filter(pl.col("protocol").is_not_null())
    need(units.height > 0, "no composition has a grid of lambdas")
    tables = [_scale(scale, within(units, scale.panels)) for scale in all_scales(study)]
    test = pl.concat([table for table in tables if table.height])
    table = test.join(choices(study), on=[*CURVE, "strength"], how="left", maintain_order="left")
    best = pl.col("test") == pl.col("test").max().over(CURVE)
    least = pl.col("strength").abs() == pl.col("strength").abs().filter(best).min().over(CURVE)
    table = table.with_columns(
        (best & least).alias("hindsight"),
        pl.col("chosen").fill_null(False),
        pl.col("protocol").replace_strict(CLAIMS, default=None).alias("claim"),
    )
    return table.rename({"strength": "lambda"}).select(*COLUMNS).sort(*CURVE, "lambda")


def _scale(scale: Scale, units: pl.DataFrame) -> pl.DataFrame:
    """Mean Δ over seeds on test items, of one metric."""
    joined = units.join(unit_deltas(scale), on="unit", how="inner")
    own = (pl.col("language") == pl.col("target_language")).alias("own")
    return joined.group_by(*CURVE, "protocol", "strength", own, maintain_order=True).agg(
        pl.lit(scale.metric).alias("metric"),
        pl.lit(scale.unit).alias("unit"),
        pl.col("delta").mean().round(9).alias("test"),
        pl.len().cast(pl.Int64).alias("n_seeds"),
    )


COLUMNS = {
    **MODEL_WORDS,
    "name": "name of the composition",
    "protocol": "on what λ is chosen: source, other_languages or target",
    "claim": "zero-shot, or few-shot where it is the target's own held-out items",
    **TARGET_WORDS,
    "own": "whether the target is in the language that the composition is for; null: it is for none",
    "metric": "metric of the target",
    "unit": "of Δ",
    "lambda": "λ",
    "validation": "mean Δ on the held-out items that choose λ for the target; null where there are no scores",
    "test": "Δ on the target's test items, mean over seeds",
    "chosen": "whether this λ is reported: the best on held-out items, of equal ones the nearest to 0",
    "hindsight": "whether it is the best on test items, which nobody can know beforehand",
    "n_seeds": "seeds averaged",
}
TABLES = (
    Table[Study](
        "lambda_curve",
        "What lambda does",
        "units of compositions with a grid of λ",
        COLUMNS,
        lambda_curve,
    ),
)
