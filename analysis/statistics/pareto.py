"""The trade an adapter makes: what it gains on its own task against what it does to all the others.

One point per (model, source): on_task = mean Δ over MT-CL targets, off_task = mean Δ over all targets of other tasks
(CT-ML and CT-CL), harm_rate of the latter rows (arXiv 2511.13368). The frontier of a model, which the reference study
does not draw, is the set of its points that no other of its points beats in one without losing in the other.
"""

from __future__ import annotations

import polars as pl

from analysis.frames import HARM, MODEL_WORDS, RATE_WORDS, SOURCE, SOURCE_WORDS, Table, harm_rate, need, transfer_rows
from analysis.reading.study import Study
from analysis.statistics.rates import Evidence, beside, evidence


def pareto(transfer: pl.DataFrame, known: Evidence | None = None) -> pl.DataFrame:
    """`model, source_task, source_language, on_task, off_task`, harm rates, `on_frontier`.

    A source that lacks either side has no point; NotComputable when no source has both.
    """
    rows = transfer_rows(transfer)
    keys = ["model", *SOURCE]
    on = rows.filter(pl.col("regime") == "MT-CL").group_by(keys).agg(pl.col("delta").mean().alias("on_task"))
    off_rows = rows.filter(pl.col("regime") != "MT-CL")
    off = off_rows.group_by(keys).agg(pl.col("delta").mean().alias("off_task"), harm_rate())
    points = beside(on.join(off, on=keys), off_rows, keys, known).sort(keys)
    need(points.height > 0, "no source has both targets of its own task in other languages and targets of other tasks")
    sides = ("on_task", "off_task")

    def more(side: str) -> pl.Expr:
        return pl.col(f"{side}_other") > pl.col(side)

    def at_least(side: str) -> pl.Expr:
        return pl.col(f"{side}_other") >= pl.col(side)

    beaten = (
        points.join(points, on="model", suffix="_other")
        .filter(*(at_least(side) for side in sides), pl.any_horizontal(*(more(side) for side in sides)))
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
            **{name: RATE_WORDS[name] for name in ("harm_floor", "harm_least")},
            "on_frontier": "no other source of the model is better on one and at least as good on the other",
        },
        lambda study: pareto(study.transfer, evidence(study.grids)),
    ),
)
