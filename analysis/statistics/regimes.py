"""How large the effect is, by regime.

Definitions are those of the reference study (arXiv 2511.13368): per set of rows n, mean and median Δ,
positive-transfer rate 100·mean(Δ > 0) and harm rate 100·mean(Δ ≤ −1.0 pp).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.frames import RATE_WORDS, ROWS_WORDS, TRANSFER_REGIMES, Table, need, summary
from analysis.reading.grids import ModelGrid
from analysis.reading.study import Study
from analysis.statistics.rates import beside, evidence
from analysis.statistics.roles import mean_of_rows
from study.cells import REGIMES

NO_ROWS = "no adapter was scored on a target that has an accuracy"


def regime_summary(transfer: pl.DataFrame, grids: Sequence[ModelGrid] = ()) -> pl.DataFrame:
    """`regime, n, mean, low, high, median`, rates; row `all` is every transfer row (MT-ML is not in it).

    The interval is that of the mean over models, or over items and seeds of the one model.
    """
    rows = transfer.filter(pl.col("delta").is_not_null())
    need(rows.height > 0, NO_ROWS)
    parts = [
        ("all", rows.filter(pl.col("regime") != "MT-ML")),
        *((r, rows.filter(pl.col("regime") == r)) for r in REGIMES),
    ]
    known = evidence(grids)
    named = [part.with_columns(pl.lit(name).alias("regime")) for name, part in parts if part.height]
    tables = [
        beside(part.group_by("regime").agg(summary()).with_columns(_ends(part, grids)), part, ["regime"], known)
        for part in named
    ]
    return pl.concat(tables).select(*COLUMNS)


def _ends(rows: pl.DataFrame, grids: Sequence[ModelGrid]) -> list[pl.Expr]:
    interval = mean_of_rows(rows, grids)
    return [
        pl.lit(None if np.isnan(end[0]) else float(end[0]), pl.Float64).alias(name)
        for name, end in (("low", interval.low), ("high", interval.high))
    ]


def quantiles(transfer: pl.DataFrame) -> pl.DataFrame:
    """`regime, p05, q1, median, q3, p95, mean, n`: the spread of Δ, for the figure."""
    rows = transfer.filter(pl.col("delta").is_not_null(), pl.col("regime").is_in(["MT-ML", *TRANSFER_REGIMES]))
    need(rows.height > 0, NO_ROWS)
    named = {"p05": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "p95": 0.95}
    stats = [pl.col("delta").quantile(q, "linear").alias(name) for name, q in named.items()]
    return rows.group_by("regime").agg(*stats, pl.col("delta").mean().alias("mean"), pl.len().alias("n")).sort("regime")


COLUMNS = {
    "regime": "all, MT-ML, MT-CL, CT-ML or CT-CL",
    **ROWS_WORDS,
    "low": "lower end of the 95 % interval of the mean: over models, or over items and seeds of the one model, pp",
    "high": "upper end, pp",
    "median": "median Δ, pp",
    **RATE_WORDS,
}
TABLES = (
    Table[Study](
        "regime_summary",
        "Effect by regime",
        "all rows; row “all” leaves MT-ML out",
        COLUMNS,
        lambda study: regime_summary(study.transfer, study.grids),
    ),
)
