"""How the updates of parts lie to one another, and whether that goes with how far they are from adding up.

Cosine, ratio of norms and share of conflicting signs of ΔW stand in the record of every composed adapter. The
*residual* is the root of the mean squared difference between measured Δ and Σ w_i·Δ_i over the targets of an adapter
(`additivity`); noise of the items is in it. `with_…` is Spearman's correlation of each with it, over all pairs
of a method and metric: the same number in all of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from analysis.frames import MODEL_WORDS, Table, need
from analysis.reading.study import Study
from analysis.statistics.combinations.additivity import points_of
from analysis.statistics.combinations.reported import all_scales, composed_of

MEASURES = ("cosine", "norm_ratio", "sign_conflicts")
PAIR = ["model", "name", "method", "strength", "part", "other"]
FEWEST = 3  # rows of a correlation


def geometry(study: Study) -> pl.DataFrame:
    """One row per composition, lambda, pair of parts and metric; NotComputable where no record has pairs."""
    pairs = pl.DataFrame(list(_pairs(study)), schema=_SCHEMA, orient="row")
    need(pairs.height > 0, "no composed adapter has a record of how its parts lie to one another")
    known = pairs.join(_residuals(study), on=["adapter_id", "method"], how="left")
    of_adapter = [pl.col(name).mean() for name in (*MEASURES, "residual")]
    table = known.group_by(*PAIR, "metric", "unit", maintain_order=True).agg(
        *of_adapter, pl.col("n_targets").max(), pl.len().cast(pl.Int64).alias("n_seeds")
    )
    told = table.filter(pl.col("residual").is_not_null()).group_by("metric", "method").agg(
        *(
            pl.when(pl.len() >= FEWEST)
            .then(pl.corr(name, "residual", method="spearman"))
            .fill_nan(None)
            .alias(f"with_{name}")
            for name in MEASURES
        )
    )  # fmt: skip
    joined = table.join(told, on=["metric", "method"], how="left", nulls_equal=True)
    return (
        joined.rename({"strength": "lambda"})
        .select(*COLUMNS)
        .sort("model", "name", "lambda", "metric", "part", "other")
    )


def _pairs(study: Study) -> Iterator[tuple[object, ...]]:
    found = composed_of(study)
    for row in found.named.iter_rows(named=True):
        record = found.records.get(row["adapter_id"])
        names = {term["subject_id"]: term["source"] for term in row["terms"]}
        for pair in record.pairs if record else ():
            parts = [record.terms[number].adapter_id for number in (pair.first, pair.second)] if record else []
            of = (row["adapter_id"], row["model"], row["name"], row["method"], row["strength"])
            called = sorted(names.get(part, part) for part in parts)  # a record has them by ids, which seeds differ in
            yield (*of, *called, pair.cosine, pair.norm_ratio, pair.sign_conflicts)


def _residuals(study: Study) -> pl.DataFrame:
    """`adapter_id, method, metric, unit, residual, n_targets` of every composed adapter with parts beside it."""
    tables = [pl.DataFrame(schema=_RESIDUALS)]
    for scale in all_scales(study):
        points = points_of(study, scale)
        if points is not None:
            square = (points.measured[0][:, 0] - points.predicted[0][:, 0]) ** 2
            tables.append(
                points.about.with_columns(pl.Series("square", square))
                .group_by("adapter_id", "method")
                .agg(
                    pl.lit(scale.metric).alias("metric"),
                    pl.lit(scale.unit).alias("unit"),
                    pl.col("square").mean().sqrt().alias("residual"),
                    pl.len().cast(pl.Int64).alias("n_targets"),
                )
                .select(list(_RESIDUALS))
            )
    return pl.concat(tables)


_TEXTS = ("adapter_id", "model", "name", "method")
_SCHEMA = dict.fromkeys(_TEXTS, pl.String) | {"strength": pl.Float64} | dict.fromkeys(("part", "other"), pl.String)
_SCHEMA |= dict.fromkeys(MEASURES, pl.Float64)
_RESIDUALS = dict.fromkeys(("adapter_id", "method", "metric", "unit"), pl.String) | {
    "residual": pl.Float64,
    "n_targets": pl.Int64,
}
COLUMNS = {
    **MODEL_WORDS,
    "name": "name of the composition",
    "method": "how it is put together",
    "lambda": "λ; null where no weight names it",
    "part": "one of two parts",
    "other": "the other",
    "cosine": "cosine of their ΔW, mean over seeds",
    "norm_ratio": "the smaller of their norms by the larger",
    "sign_conflicts": "share of the entries, of those that are zero in neither, whose signs differ; "
    "above 64 rows or columns of a sample of them",
    "metric": "of the targets; null where no target has scores of all parts, or where it is no sum, as in `additivity`",
    "unit": "of the residual",
    "residual": "root of the mean squared difference of measured Δ and Σ w_i·Δ_i over targets, mean over seeds",
    "with_cosine": "Spearman's correlation of cosine and residual over pairs of the method and metric; null: too few",
    "with_norm_ratio": "the same of the ratio of norms",
    "with_sign_conflicts": "the same of the share of conflicting signs",
    "n_targets": "targets",
    "n_seeds": "seeds averaged",
}
TABLES = (
    Table[Study](
        "geometry",
        "How the parts of compositions lie to one another",
        "records of composed adapters",
        COLUMNS,
        geometry,
    ),
)
