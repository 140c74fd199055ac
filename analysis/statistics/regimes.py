"""How large the effect is, by regime.

Definitions are those of the reference study (arXiv 2511.13368): per set of rows n, mean and median Δ,
positive-transfer rate 100·mean(Δ > 0) and harm rate 100·mean(Δ ≤ −1.0 pp).
"""

from __future__ import annotations

import polars as pl

from analysis.frames import RATE_WORDS, ROWS_WORDS, TRANSFER_REGIMES, Table, need, summary
from analysis.reading.study import Study
from study.cells import REGIMES


def regime_summary(transfer: pl.DataFrame) -> pl.DataFrame:
    """`regime, n, mean, median, positive_rate, harm_rate`; row `all` is every transfer row (MT-ML is not in it)."""
    rows = transfer.filter(pl.col("delta").is_not_null())
    need(rows.height > 0, "there is no row with a Δ")
    parts = [
        ("all", rows.filter(pl.col("regime") != "MT-ML")),
        *((r, rows.filter(pl.col("regime") == r)) for r in REGIMES),
    ]
    tables = [part.select(pl.lit(name).alias("regime"), *summary()) for name, part in parts if part.height]
    return pl.concat(tables)


def quantiles(transfer: pl.DataFrame) -> pl.DataFrame:
    """`regime, p05, q1, median, q3, p95, mean, n`: the spread of Δ, for the figure."""
    rows = transfer.filter(pl.col("delta").is_not_null(), pl.col("regime").is_in(["MT-ML", *TRANSFER_REGIMES]))
    need(rows.height > 0, "there is no row with a Δ")
    named = {"p05": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "p95": 0.95}
    stats = [pl.col("delta").quantile(q, "linear").alias(name) for name, q in named.items()]
    return rows.group_by("regime").agg(*stats, pl.col("delta").mean().alias("mean"), pl.len().alias("n")).sort("regime")


TABLES = (
    Table[Study](
        "regime_summary",
        "Effect by regime",
        "all rows; row “all” leaves MT-ML out",
        {"regime": "all, MT-ML, MT-CL, CT-ML or CT-CL", **ROWS_WORDS, "median": "median Δ, pp", **RATE_WORDS},
        lambda study: regime_summary(study.transfer),
    ),
)
