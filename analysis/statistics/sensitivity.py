"""What this study can see: how likely harm of a given size is called, and what more items or seeds would do.

From what was measured, per model: the items of a target, the seeds, how many items adapter and base answer differently,
how much of that seeds have in common, and the spread between seeds. `study/power.py` has the calculation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from analysis.frames import MODEL_WORDS, Table, need
from analysis.inference.items import Floats
from analysis.reading.grids import POINTS, ModelGrid
from analysis.reading.study import Study
from analysis.statistics.significance import NO_ITEMS, transfer_cells
from study.power import WANTED, Plan, items_needed, power, seeds_needed, smallest_harm

HARMS = (-1.0, -2.0, -5.0, -10.0)  # pp


def sensitivity(grids: Sequence[ModelGrid]) -> pl.DataFrame:
    """One row per model and size of harm; NotComputable without item rows."""
    need(bool(grids), NO_ITEMS)
    rows = [row for one in grids if (plan := seen_plan(one)) for row in _rows(one.model, plan)]
    need(bool(rows), "there are no rows of another task or language")
    made = pl.DataFrame(rows, schema=list(COLUMNS), orient="row", infer_schema_length=None)
    return made.cast({"items_needed": pl.Int64, "seeds_needed": pl.Int64, "smallest": pl.Float64})  # all may be null


def seen_plan(one: ModelGrid) -> Plan | None:
    """The model's median transfer cell as a plan; None where it has none."""
    cells = transfer_cells(one)
    if not cells.height:
        return None
    at = (cells["row"].to_numpy(), cells["column"].to_numpy())
    n, k = (int(np.median(counts[at])) for counts in (one.grid.n_items, one.grid.n_seeds))
    together = float(np.median((one.grid.square * one.grid.n_items)[at])) / POINTS**2
    apart = _apart(one.grid.noise, np.median(one.grid.n_items[at])) if one.cells.seeds.known else 0.0
    discordance = together + apart * (1 - 1 / k) if k > 1 else together
    agreement = max(0.0, 1 - apart / discordance) if k > 1 and discordance else 0.5
    spread = float(np.sqrt(one.cells.seeds.pooled))
    sources = int((one.grid.n_seeds.max(axis=1) > 1).sum())  # those that tell how seeds differ
    return Plan(n, k, discordance, agreement, spread, max(sources, 1), cells.height)


def _apart(noise: Floats, n_items: float) -> float:
    """What two seeds of a source answer differently on an item, as a variance in proportions."""
    return float(np.nanmedian(noise)) * n_items / 2 / POINTS**2


def _rows(model: str, plan: Plan) -> list[tuple[object, ...]]:
    smallest = smallest_harm(plan)
    seen = smallest if smallest > -POINTS else None
    known = (plan.n_items, plan.n_seeds, plan.n_cells, POINTS * plan.discordance, plan.seed_sd, seen)
    return [
        (model, harm, power(plan, harm), items_needed(plan, harm), seeds_needed(replace(plan, n_seeds=2), harm), *known)
        for harm in HARMS
    ]


COLUMNS = {
    **MODEL_WORDS,
    "harm": "true Δ of a cell, pp",
    "power": "chance that such a cell is called worse (q ≤ 0.05), if a tenth of the model's cells are harmed as much",
    "items_needed": f"items per target with which it is {WANTED:.0%}, seeds as they are; null: no number is enough",
    "seeds_needed": f"seeds with which it is {WANTED:.0%}, items as they are; null: no number is enough",
    "n_items": "items of the median transfer cell",
    "n_seeds": "seeds of the median transfer cell",
    "n_cells": "transfer cells of the model",
    "discordance": "items that adapter and base answer differently, %",
    "seed_sd": "standard deviation between seeds beyond items, pp; 0 where there is one seed and it is unknown",
    "smallest": f"Δ of the harm that is called with chance {WANTED:.0%}, pp; null: none is",
}
TABLES = (
    Table[Study](
        "power",
        "What this study can see",
        "transfer rows, from their items",
        COLUMNS,
        lambda study: sensitivity(study.grids),
        how="Whether a cell that truly loses so much would be called worse, and how many items per target or how many "
        "seeds it would take. What is not called worse is not shown to be safe.",
    ),
)
