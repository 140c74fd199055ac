"""The trade an adapter makes: what it gains on its own task against what it does to all the others.

One point per (model, source): on_task = mean Δ over MT-CL targets, off_task = mean Δ over all targets of other tasks
(CT-ML and CT-CL), harm_rate of the latter rows. The frontier of a model is the set of its points that no other of
its points beats in both (arXiv 2511.13368).
"""

from __future__ import annotations

import polars as pl

from analysis.frames import HARM, MODEL_WORDS, SOURCE, SOURCE_WORDS, Table, harm_rate, need, transfer_rows
from analysis.reading.study import Study


def pareto(transfer: pl.DataFrame) -> pl.DataFrame:
    """`model, source_task, source_language, on_task, off_task, harm_rate, on_frontier`.

    A source that lacks either side has no point; NotComputable when no source has both.
    """
    rows = transfer_rows(transfer)
    keys = ["model", *SOURCE]
    on = rows.filter(pl.col("regime") == "MT-CL").group_by(keys).agg(pl.col("delta").mean().alias("on_task"))
    off_rows = rows.filter(pl.col("regime") != "MT-CL")
    off = off_rows.group_by(keys).agg(pl.col("delta").mean().alias("off_task"), harm_rate())
    points = on.join(off, on=keys).sort(keys)
    need(points.height > 0, "no source has both targets of its own task in other languages and targets of other tasks")
    beaten = (
        points.join(points, on="model", suffix="_other")
        .filter(pl.col("on_task_other") > pl.col("on_task"), pl.col("off_task_other") > pl.col("off_task"))
        .select(keys)
        .unique()
        .with_columns(pl.lit(False).alias("on_frontier"))
    )
    return points.join(beaten, on=keys, how="left").with_columns(pl.col("on_frontier").fill_null(True)).sort(keys)


TABLES = (
    Table[Study](
        "pareto",
        "Gain on the own task against effect elsewhere",
        "transfer rows",
        {
            **MODEL_WORDS,
            **SOURCE_WORDS,
            "on_task": "mean Δ over MT-CL targets, pp",
            "off_task": "mean Δ over targets of other tasks, pp",
            "harm_rate": f"share of the latter with {HARM}, %",
            "on_frontier": "no other source of the model is better on both",
        },
        lambda study: pareto(study.transfer),
    ),
)
