"""How large the effect is, by regime, by task and by kind of target.

Definitions are those of the reference study (arXiv 2511.13368): per set of rows n, mean and median Δ,
positive-transfer rate 100·mean(Δ > 0) and harm rate 100·mean(Δ ≤ −1.0 pp).
"""

from __future__ import annotations

import polars as pl

from analysis.frames import TRANSFER_REGIMES, harm_rate, need, positive_rate, summary, transfer_rows
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


def on_off_task(transfer: pl.DataFrame) -> pl.DataFrame:
    """`source_task, side, n, mean, positive_rate, harm_rate`: side is on_task (MT-CL) or off_task (CT-ML and CT-CL)."""
    rows = transfer_rows(transfer)
    side = pl.when(pl.col("regime") == "MT-CL").then(pl.lit("on_task")).otherwise(pl.lit("off_task")).alias("side")
    table = rows.with_columns(side).group_by("source_task", "side").agg(summary()).drop("median")
    return table.sort("source_task", "side", descending=[False, True])


def harm_breakdown(transfer: pl.DataFrame) -> pl.DataFrame:
    """`group, value, n, mean, positive_rate, harm_rate` of MT-CL rows.

    Groups: target_language, target_task, size (S ≤ 1.5, M up to 7, L ≥ 7 billion parameters), model_family.
    """
    rows = transfer_rows(transfer, "MT-CL").with_columns(size_bucket())
    tables = []
    for group in ("target_language", "target_task", "size", "model_family"):
        stats = [pl.len().cast(pl.Int64).alias("n"), pl.col("delta").mean().alias("mean"), positive_rate(), harm_rate()]
        part = rows.group_by(pl.col(group).alias("value")).agg(stats).sort("value")
        tables.append(part.select(pl.lit(group).alias("group"), "value", "n", "mean", "positive_rate", "harm_rate"))
    return pl.concat(tables)


def size_bucket() -> pl.Expr:
    """`size`: S ≤ 1.5, M (1.5, 7), L ≥ 7 billion parameters; unknown where the size is not known."""
    size = pl.col("model_size")
    name = pl.when(size <= 1.5).then(pl.lit("S")).when(size < 7).then(pl.lit("M")).when(size >= 7).then(pl.lit("L"))
    return name.otherwise(pl.lit("unknown")).alias("size")


def quantiles(transfer: pl.DataFrame) -> pl.DataFrame:
    """`regime, p05, q1, median, q3, p95, mean, n`: the spread of Δ, for the figure."""
    rows = transfer.filter(pl.col("delta").is_not_null(), pl.col("regime").is_in(["MT-ML", *TRANSFER_REGIMES]))
    need(rows.height > 0, "there is no row with a Δ")
    named = {"p05": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "p95": 0.95}
    stats = [pl.col("delta").quantile(q, "linear").alias(name) for name, q in named.items()]
    return rows.group_by("regime").agg(*stats, pl.col("delta").mean().alias("mean"), pl.len().alias("n")).sort("regime")
