"""Learning curves: what more examples of a source bring, by samples of it that were trained on beside all.

A point is a mean over the targets of a regime, of a source or of a task (its languages together); a step is what a
point has more than the one before it, on the cells that both have. Both are means of cells as those of `groups`: items
are clusters, which all sizes share, and the seeds of each size are its own. A point of one cell is that cell, and a
step of one has two pseudo-items as a cell has (`items`), so that no width is 0 because nothing happened to differ. The
steps of a model are two families, of tasks and of sources, with q-values for either side (Benjamini and Hochberg 1995).
That the samples were drawn once is in no interval: another draw may give another curve.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.frames import DELTA_WORDS, MODEL_WORDS, SOURCE, TARGET, Table, need
from analysis.inference.claims import LEVEL, q_values
from analysis.inference.items import PSEUDO, Floats, Grid, typical_of
from analysis.inference.means import means, one_sided, within_model
from analysis.reading.grids import ModelGrid, model_grids
from analysis.reading.study import Study
from analysis.reading.transfer import with_regime

FAMILIES = {"task": ["source_task"], "source": SOURCE}
SIDES = ("worse", "better")
WHOLE, ROUNDED = 100.0, 1e-4  # points: one item of an accuracy; what share of it single precision may make of 0
ALL = "0"  # behind the @ of a source that is no sample


def learning_curve(study: Study) -> pl.DataFrame:
    """One row per point of every curve; NotComputable where no sample was scored on a target with an accuracy."""
    units = by_size(study.units, pl.col("score").is_not_null()) if study.panels else pl.DataFrame()
    need(units.height > 0, "no source has samples that were scored by an accuracy: tasks[].train.sizes asks for some")
    grids = model_grids(study.panels, units)
    need(bool(grids), "no sample was scored on a target that its base was scored on, too")
    table = pl.concat([family(one, name) for one in grids for name in FAMILIES])
    return with_examples(table, study, units).select(*COLUMNS)


def with_examples(table: pl.DataFrame, study: Study, units: pl.DataFrame) -> pl.DataFrame:
    """Points with how many rows were learned from, also where all were."""
    known = counted(study, units)
    names = table.select("model", *SOURCE).rows()
    examples = pl.coalesce("sample", pl.Series([known.get(name) for name in names], dtype=pl.Int64))
    return table.with_columns(examples.alias("examples"))


def by_size(units: pl.DataFrame, counts: pl.Expr) -> pl.DataFrame:
    """Units of the bases, and of the sources that have samples: there `source_task` tells the size, as task@size.

    Samples are those units that `counts` lets pass.
    """
    samples = units.filter(pl.col("kind") == "sample", counts)
    whole = units.filter(pl.col("kind") == "trained").join(samples, on=["model", *SOURCE], how="semi")
    curves = pl.concat([whole, samples])
    size = pl.col("source_size").cast(pl.String).fill_null(ALL)
    named = curves.with_columns(
        pl.concat_str("source_task", size, separator="@").alias("source_task"), pl.lit("trained").alias("kind")
    )
    return pl.concat([named, units.filter(pl.col("kind") == "base")]) if samples.height else samples


def counted(study: Study, units: pl.DataFrame) -> dict[tuple[str, str, str | None], int]:
    """How many different rows were learned from where all were, by model and source; of a task the mean."""
    rows = [(record.adapter_id, len(record.train_doc_hashes)) for record in study.records]
    counted = pl.DataFrame(rows, schema={"adapter_id": pl.String, "rows": pl.Int64}, orient="row")
    whole = units.filter(pl.col("source_size").is_null()).join(counted, on="adapter_id")
    known = whole.select("model", pl.col("source_task").str.strip_suffix(f"@{ALL}"), "source_language", "rows").unique()
    mean = pl.col("rows").mean().round().cast(pl.Int64)
    named = units.filter(pl.col("kind") == "trained").with_columns(*_of_name())
    known = known.join(_sized(named, "model"), on=["model", *SOURCE], how="left")
    of_task = (
        known.filter("whole")
        .group_by("model", "source_task")
        .agg(pl.lit(None, pl.String).alias("source_language"), mean)
    )
    of_source = known.group_by("model", *SOURCE).agg(mean)
    return {(model, task, language): n for model, task, language, n in pl.concat([of_source, of_task]).rows()}


def family(one: ModelGrid, name: str, whole: float = WHOLE) -> pl.DataFrame:
    """The curves of a model's tasks, or of its sources; `whole` is the most that one item can move."""
    points, weights, steps, sole = [], list[Floats](), list[Floats](), list[tuple[float, float]]()
    for key, cells in curves_of(one.frame(), FAMILIES[name]):
        before: pl.DataFrame | None = None
        for (size,), now in cells.partition_by("size", as_dict=True, maintain_order=True).items():
            points.append((name, one.model, *key, size or None, now.height))
            weights.append(_mean(one, now))
            steps.append(np.zeros_like(weights[-1]) if before is None else _step(one, before, now))
            sole.append(_of_one(one.grid, steps[-1], whole))
            before = now
    items, unsure = np.array(sole).T
    mean = means(one.grid, one.cells.seeds, np.array(weights))
    at, more = within_model(mean), within_model(means(one.grid, one.cells.seeds, np.array(steps), (items, unsure)))
    for i, cell in enumerate(weights):
        if np.count_nonzero(cell) == 1:
            at.low[i], at.high[i] = (end[cell != 0][0] for end in (one.cells.low, one.cells.high))
    p = dict(zip(SIDES, one_sided(more), strict=True))
    values = {"mean": mean.value, "low": at.low, "high": at.high}
    values |= {"step": more.value, "step_low": more.low, "step_high": more.high}
    values |= {f"p_{side}": p[side] for side in SIDES} | {f"q_{side}": q_values(p[side]) for side in SIDES}
    table = pl.DataFrame(points, schema=POINT, orient="row").with_columns(
        *(pl.Series(column, found).fill_nan(None) for column, found in values.items()),
        pl.lit(one.about).alias("about"),
    )
    return table.with_columns((pl.col(f"q_{side}") <= LEVEL).alias(side) for side in SIDES)


def curves_of(frame: pl.DataFrame, keys: list[str]) -> Iterator[tuple[tuple[str, str | None, str], pl.DataFrame]]:
    """Task, language and regime of every curve, and its cells by size, all rows last."""
    named = frame.with_columns(*_of_name())
    if keys != SOURCE:
        named = named.join(_sized(named).filter("whole"), on=SOURCE, how="semi")
    cells = with_regime(named).sort(*keys, "regime", pl.col("size") == 0, "size", maintain_order=True)
    for _, curve in cells.group_by(*keys, "regime", maintain_order=True):
        first = curve.row(0, named=True)
        yield (first["source_task"], first["source_language"] if keys == SOURCE else None, first["regime"]), curve


def _of_name() -> tuple[pl.Expr, pl.Expr]:
    """`source_task` and `size` of a task@size."""
    task = pl.col("source_task").str.split("@")
    return task.list.first().alias("source_task"), task.list.last().cast(pl.Int64).alias("size")


def _sized(named: pl.DataFrame, *more: str) -> pl.DataFrame:
    """Sources, and whether each has as many sizes as any of its task: a task's curve is of the same languages."""
    sizes = named.group_by(*more, *SOURCE).agg(pl.col("size").n_unique())
    return sizes.with_columns((pl.col("size") == pl.col("size").max().over(*more, "source_task")).alias("whole"))


def _mean(one: ModelGrid, cells: pl.DataFrame) -> Floats:
    """Weights of the mean of some cells."""
    weights = np.zeros(one.there.shape)
    weights[cells["row"].to_numpy(), cells["column"].to_numpy()] = 1 / max(cells.height, 1)
    return weights


def _step(one: ModelGrid, before: pl.DataFrame, now: pl.DataFrame) -> Floats:
    """Weights of what is more than before, on the cells that both have."""
    cell = [*SOURCE, *TARGET]
    both = (one_.join(other, on=cell, how="semi") for one_, other in ((now, before), (before, now)))
    more, less = (_mean(one, cells) for cells in both)
    return more - less


def _of_one(grid: Grid, step: Floats, whole: float = WHOLE) -> tuple[float, float]:
    """Variance from items, two pseudo-items among them, of a step on one target, and that of it; NaN for others."""
    (rows, columns), empty = np.nonzero(step), (np.nan, np.nan)
    if len(rows) != 2 or columns[0] != columns[1]:
        return empty
    now, before = sorted(rows, key=lambda row: -step[row, columns[0]])
    t, pair = columns[0], [now, before]
    moves, counts = grid.influence[t][pair], grid.n_items[pair, t]
    if (grid.n_apart[pair, t] < counts).any():  # items hang together: values are of clusters
        counts = np.full(2, np.count_nonzero((moves != 0).any(axis=0)) or moves.shape[1])
    n, complete = counts.min(), (counts == moves.shape[1]).all()
    more, less = counts[:, None] * moves + grid.delta[pair, t][:, None]
    y = more - less if complete else (more - less)[(moves != 0).any(axis=0)]
    y = np.where(np.abs(y) < ROUNDED * whole, 0.0, y)
    typical = typical_of(y, whole)
    items = float(np.var([*y, typical, -typical], ddof=1) / (n + PSEUDO))
    return items, 2 * items**2 / (n + PSEUDO - 1)


POINT = {
    "of": pl.String,
    "model": pl.String,
    "source_task": pl.String,
    "source_language": pl.String,
    "regime": pl.String,
    "sample": pl.Int64,
    "n_cells": pl.Int64,
}
COLUMNS = {
    "of": "task or source",
    **MODEL_WORDS,
    "source_task": "task trained on",
    "source_language": "language trained on; null where all of a task's are taken together",
    "regime": "MT-ML, MT-CL, CT-ML or CT-CL: what its targets are to the source",
    "sample": "examples in the sample that was trained on; null where it was all of them",
    "examples": "the same, and of all the different rows there were (of a task the mean over its languages)",
    "n_cells": "cells in it",
    "mean": DELTA_WORDS,
    "low": "lower end of its 95 % interval over items and seeds, pp",
    "high": "upper end, pp",
    "step": "what the mean is more than with the next fewer examples, on the cells both have, pp; null at the first",
    "step_low": "lower end of its 95 % interval over items and seeds, pp",
    "step_high": "upper end, pp",
    "p_worse": "p-value of: the step is not below 0",
    "q_worse": "its q-value over the steps of tasks, or of sources, in the model",
    "worse": f"q_worse ≤ {LEVEL}: more examples made it worse",
    "p_better": "the same for gains",
    "q_better": "its q-value",
    "better": f"q_better ≤ {LEVEL}",
    "about": "what is claimed: of the source over seeds, or of these adapters where there is one seed",
}
TABLES = (
    Table[Study](
        "learning_curve",
        "What more examples bring",
        "rows of samples and of the sources that they are drawn from, from their items",
        COLUMNS,
        learning_curve,
    ),
)
