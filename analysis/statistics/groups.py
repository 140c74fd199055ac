"""Claims about many cells at once, which see what single cells are too noisy for.

Three families per model, each with its own q-values (Benjamini and Hochberg 1995), on transfer rows:

- a source on the languages of a task: that it makes *some* of them worse (or better), by Simes (1986) over the cells.
  A called group opens its cells: they are called at a level that allows for the choice of groups (Benjamini and
  Bogomolov 2014).
- a source task on a target task, and a source on everything: that it does so *on average*, by Student's t of the mean,
  items as clusters over all cells, seeds pooled (`analysis/inference/means.py`). A group of one cell is that cell, and
  has its interval and p-values, pseudo-items and all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.frames import DELTA_WORDS, MODEL_WORDS, SOURCE, Table, need
from analysis.inference.claims import LEVEL, q_values, simes
from analysis.inference.items import Floats, Ints
from analysis.inference.means import Interval, means, one_sided, within_model
from analysis.reading.grids import ModelGrid
from analysis.reading.study import Study
from analysis.statistics.significance import GATE, NO_ITEMS, transfer_cells

FAMILIES = {
    "source on task": GATE,
    "task on task": ("source_task", "target_task"),
    "source": ("source_task", "source_language"),
}
ORDER = ("source", "task on task", "source on task")
SOME = "source on task"  # its claims are of some cell, those of the others of the mean
SIDES = ("worse", "better")


def groups(grids: Sequence[ModelGrid]) -> pl.DataFrame:
    """One row per group of every family; NotComputable without item rows."""
    need(bool(grids), NO_ITEMS)
    tables = [_family(one, name) for one in grids for name in FAMILIES]
    found = pl.concat([table for table in tables if table.height] or [pl.DataFrame()])
    need(found.height > 0, "there are no rows of another task or language")
    return found.select(*COLUMNS).sort(
        pl.col("family").replace_strict({name: i for i, name in enumerate(ORDER)}), "mean", *MODEL_WORDS, *GATE
    )


def _family(one: ModelGrid, name: str) -> pl.DataFrame:
    rows = transfer_cells(one)
    if not rows.height:
        return pl.DataFrame()
    keys = list(FAMILIES[name])
    numbered = rows.with_columns((pl.struct(keys).rank("dense").cast(pl.Int64) - 1).alias("group"))
    at = (numbered["row"].to_numpy(), numbered["column"].to_numpy())
    group = numbered["group"].to_numpy()
    weights = np.zeros((int(group.max()) + 1, *one.there.shape))
    weights[(group, *at)] = 1.0
    count = weights.sum(axis=(1, 2))
    interval, p = _tested(one, weights / count[:, None, None], at, group)
    if name == SOME:
        p = {side: simes(getattr(one.cells, side)[at], group) for side in SIDES}
    table = numbered.group_by(["model", *keys, "group"]).agg().sort("group").drop("group")
    lacking = [pl.lit(None, pl.String).alias(c) for c in (*SOURCE, "target_task") if c not in keys]
    return table.with_columns(
        pl.lit(name).alias("family"),
        *lacking,
        pl.Series("n_cells", count.astype(np.int64)),
        pl.Series("mean", interval.value),
        pl.Series("low", interval.low),
        pl.Series("high", interval.high),
        *(pl.Series(f"p_{side}", values) for side, values in p.items()),
        *(pl.Series(f"q_{side}", q_values(values)) for side, values in p.items()),
        *(pl.Series(side, q_values(values) <= LEVEL) for side, values in p.items()),
        pl.lit(one.about).alias("about"),
    ).select(*COLUMNS)


def _tested(one: ModelGrid, weights: Floats, at: tuple[Ints, Ints], group: Ints) -> tuple[Interval, dict[str, Floats]]:
    """Interval and p-values of the mean of each group; `at` is where the rows of `group` are."""
    interval = within_model(means(one.grid, one.cells.seeds, weights))
    p = dict(zip(SIDES, one_sided(interval), strict=True))
    single = (np.bincount(group) == 1)[group]
    alone, cell = group[single], (at[0][single], at[1][single])
    interval.low[alone], interval.high[alone] = one.cells.low[cell], one.cells.high[cell]
    for side in SIDES:
        p[side][alone] = getattr(one.cells, side)[cell]
    return interval, p


COLUMNS = {
    "family": "source on task, task on task, or source",
    **MODEL_WORDS,
    "source_task": "task trained on",
    "source_language": "language trained on; null where all are taken together",
    "target_task": "task scored on; null where all are taken together",
    "n_cells": "transfer cells in it",
    "mean": DELTA_WORDS,
    "low": "lower end of its 95 % interval over items and seeds, pp",
    "high": "upper end, pp",
    "p_worse": "p-value of: no cell is worse (source on task, by Simes); the mean is not below 0 (the others)",
    "q_worse": "its q-value over the groups of the family in the model",
    "worse": f"q_worse ≤ {LEVEL}",
    "p_better": "the same for gains",
    "q_better": "its q-value",
    "better": f"q_better ≤ {LEVEL}",
    "about": "what is claimed: of the source over seeds, or of this adapter where there is one seed",
}
TABLES = (
    Table[Study](
        "groups",
        "What is sure of sources and tasks",
        "transfer rows, from their items",
        COLUMNS,
        lambda study: groups(study.grids),
        how="Sources and tasks taken together, where single cells are too noisy. For a source on the languages of a "
        "task, worse means that some of them are; for the other two, that the mean is. Of the groups called worse in "
        "a family at most one in twenty is expected to be called so wrongly.",
    ),
)
