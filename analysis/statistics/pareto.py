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

LEAST_ON, LEAST_OFF = 3, 5  # targets that a run's means need, as in the reference study


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


def enough(transfer: pl.DataFrame) -> pl.DataFrame:
    """`model, source…` of the runs that have so many targets on the own task, and elsewhere."""
    own = pl.col("regime") == "MT-CL"
    sides = transfer_rows(transfer).group_by("model", *SOURCE).agg(own.sum().alias("on"), (~own).sum().alias("off"))
    return sides.filter(pl.col("on") >= LEAST_ON, pl.col("off") >= LEAST_OFF).select("model", *SOURCE)


def pareto_tasks(transfer: pl.DataFrame, known: Evidence | None = None) -> pl.DataFrame:
    """`model, source_task, on_task, off_task`, harm rates, `n_languages`; NotComputable where no run has enough."""
    kept, by = enough(transfer), ["model", "source_task"]
    need(kept.height > 0, f"no run has {LEAST_ON} targets on its own task and {LEAST_OFF} elsewhere")
    points = pareto(transfer.join(kept, on=["model", *SOURCE], how="semi"))
    means = [pl.col(side).mean() for side in ("on_task", "off_task", "harm_rate")]
    table = points.group_by(by).agg(*means, pl.len().cast(pl.Int64).alias("n_languages")).sort(by)
    rows = transfer_rows(transfer).filter(pl.col("regime") != "MT-CL").join(kept, on=["model", *SOURCE], how="semi")
    return beside(table, rows, by, known).select(*BY_TASK)


BY_TASK = {
    **MODEL_WORDS,
    "source_task": "task trained on",
    "on_task": "mean over its languages of their mean Δ over MT-CL targets, pp",
    "off_task": "the same over targets of other tasks, pp",
    "harm_rate": f"mean over its languages of their share of the latter with {HARM}, %",
    **{name: RATE_WORDS[name] for name in ("harm_floor", "harm_least")},
    "n_languages": "languages trained on",
}
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
    Table[Study](
        "pareto_tasks",
        "Gain on the own task against effect elsewhere, by task",
        f"transfer rows of sources with {LEAST_ON} targets on the own task and {LEAST_OFF} elsewhere or more",
        BY_TASK,
        lambda study: pareto_tasks(study.transfer, evidence(study.grids)),
        how="Points of single sources, averaged over the languages of a task, as the reference study sums them up.",
    ),
)
