"""What training on a task does on and off that task, and where transfer within a task harms.

Rates are those of `regime_summary`: positive-transfer rate 100·mean(Δ > 0), harm rate 100·mean(Δ ≤ −1.0 pp)
(arXiv 2511.13368).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.frames import (
    RATE_WORDS,
    ROWS_WORDS,
    SOURCE_WORDS,
    Table,
    harm_rate,
    positive_rate,
    summary,
    transfer_rows,
)
from analysis.reading.study import Study
from analysis.statistics.rates import Evidence, beside, evidence


def on_off_task(transfer: pl.DataFrame, known: Evidence | None = None) -> pl.DataFrame:
    """`source_task, side, n, mean`, rates: side is on_task (MT-CL) or off_task (CT-ML and CT-CL)."""
    rows = transfer_rows(transfer)
    keys = ["source_task", "side"]
    side = pl.when(pl.col("regime") == "MT-CL").then(pl.lit("on_task")).otherwise(pl.lit("off_task")).alias("side")
    rows = rows.with_columns(side)
    table = beside(rows.group_by(keys).agg(summary()).drop("median"), rows, keys, known)
    return table.sort(keys, descending=[False, True])


def harm_breakdown(transfer: pl.DataFrame, known: Evidence | None = None, curated: Sequence[str] = ()) -> pl.DataFrame:
    """`group, value, n, mean`, rates of MT-CL rows.

    Groups: target_language, target_task, construction (curated or translated, where the study has a curated task), size
    (S ≤ 1.5, M up to 7, L ≥ 7 billion parameters), model_family.
    """
    made = pl.when(pl.col("target_task").is_in(list(curated))).then(pl.lit("curated")).otherwise(pl.lit("translated"))
    rows = transfer_rows(transfer, "MT-CL").with_columns(size_bucket(), made.alias("construction"))
    tables = []
    for group in ("target_language", "target_task", "construction", "size", "model_family"):
        if group == "construction" and "curated" not in rows[group]:
            continue
        stats = [pl.len().cast(pl.Int64).alias("n"), pl.col("delta").mean().alias("mean"), positive_rate(), harm_rate()]
        valued = rows.with_columns(pl.col(group).alias("value"))
        part = beside(valued.group_by("value").agg(stats), valued, ["value"], known).sort("value")
        tables.append(part.select(pl.lit(group).alias("group"), "value", "n", "mean", *RATE_WORDS))
    return pl.concat(tables)


def size_bucket() -> pl.Expr:
    """`size`: S ≤ 1.5, M (1.5, 7), L ≥ 7 billion parameters; unknown where the size is not known."""
    size = pl.col("model_size")
    name = pl.when(size <= 1.5).then(pl.lit("S")).when(size < 7).then(pl.lit("M")).when(size >= 7).then(pl.lit("L"))
    return name.otherwise(pl.lit("unknown")).alias("size")


TABLES = (
    Table[Study](
        "on_off_task",
        "On and off the own task",
        "transfer rows",
        {
            "source_task": SOURCE_WORDS["source_task"],
            "side": "on_task (MT-CL) or off_task (CT-ML and CT-CL)",
            **ROWS_WORDS,
            **RATE_WORDS,
        },
        lambda study: on_off_task(study.transfer, evidence(study.grids)),
    ),
    Table[Study](
        "harm_breakdown",
        "Where transfer within a task harms",
        "MT-CL rows",
        {
            "group": "target_language, target_task, construction (where a task is curated), size or model_family",
            "value": "its value",
            **ROWS_WORDS,
            **RATE_WORDS,
        },
        lambda study: harm_breakdown(study.transfer, evidence(study.grids), study.curated),
        how="How often transfer to another language of the same task loses a point or more, by what is hit; by "
        "construction: on curated tasks, or on those that were machine-translated. "
        "Click a heading to sort.",
    ),
)
