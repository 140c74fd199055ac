"""What a source or a composition gains over the best of some others, target by target, seed by seed on the same items.

The best is found on other items, by the parity of `doc_id` (of a group by its first), than it is read off on, both
ways, and under other seeds where there are any (`analysis/inference/best.py`). The difference of the two is a column of
items like any other: an interval with pseudo-items, seeds pooled over the rows of a model
(`analysis/inference/cells.py`). Beside a single other nothing is chosen, and nothing widened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.frames import HARM_PP, SOURCE, TARGET
from analysis.inference.best import best_elsewhere, widened
from analysis.inference.cells import cells
from analysis.inference.items import Column, Grid, Singles, grid
from analysis.reading.grids import Clusters, Name, clusters
from analysis.reading.panels import Panel
from analysis.statistics.graded import Scale

Seeds = Mapping[int | None, int]  # the unit of each seed
Others = Callable[[Panel, pl.DataFrame], Mapping[str, Seeds]]  # by name: whom a composition stands beside on a target
WORDS = ("gain", "low", "high", "p_better", "p_worse")
SCHEMA = dict.fromkeys(("model", *SOURCE, *TARGET), pl.String) | dict.fromkeys(WORDS, pl.Float64) | {"best": pl.String}


@dataclass(frozen=True)
class Beside:
    """The rows of a model less the best of their others: S sources, or what has their place, on T targets."""

    sources: tuple[Name, ...]
    targets: tuple[Name, ...]
    grid: Grid
    best: Mapping[tuple[Name, Name], str]  # by source and target who does best on all items, for people


def gains(scale: Scale, rows: pl.DataFrame, others: Others) -> pl.DataFrame:
    """`model, source…, target…, gain, low, high, p_better, p_worse, best` of every reported row that has others."""
    found = [
        _told(str(model), made)
        for (model,), mine in rows.group_by("model", maintain_order=True)
        if (made := beside(scale, mine, others)) is not None
    ]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *found])


def _told(model: str, made: Beside) -> pl.DataFrame:
    told = cells(made.grid, HARM_PP)
    values = {"gain": made.grid.delta, "low": told.low, "high": told.high}
    values |= {"p_better": told.better, "p_worse": told.worse}
    found = [
        (model, *source, *target, *(float(one[i, j]) for one in values.values()), made.best[source, target])
        for j, target in enumerate(made.targets)
        for i, source in enumerate(made.sources)
        if (source, target) in made.best
    ]
    return pl.DataFrame(found, schema=SCHEMA, orient="row")


def beside(scale: Scale, rows: pl.DataFrame, others: Others) -> Beside | None:
    """Rows of one model beside their others; None where none has any."""
    adapters = rows.select(*SOURCE, "seed").unique().sort(*SOURCE, "seed")
    at = {row: i for i, row in enumerate(adapters.iter_rows())}
    names = sorted(set(adapters.select(SOURCE).iter_rows()))
    source = np.array([names.index(row[:2]) for row in at])
    numbers, several = clusters(scale.panels), False
    columns, targets, best = list[Column](), list[Name](), dict[tuple[Name, Name], str]()
    for panel in (panel for panel in scale.panels if panel.model == rows["model"][0]):
        parts, target = [], (panel.task, panel.language)
        here = rows.filter(pl.col("target_task") == panel.task, pl.col("target_language") == panel.language)
        for (task, language), group in here.sort("seed").group_by(SOURCE, maintain_order=True):
            rivals = others(panel, group)
            difference, first = _beside(panel, group, rivals, numbers[panel.task])
            if not np.isnan(difference).all():
                name = str(task), str(language)
                parts.append(([at[*name, seed] for seed in group["seed"]], difference))
                best[name, target], several = first, several or len(rivals) > 1
        if parts:
            columns.append(_column(panel, parts, numbers, scale.measure.size))
            targets.append(target)
    if not columns:
        return None
    plain = grid(columns, source, sum(len(one.first) for one in numbers.values()))
    made = widened(plain, int(np.bincount(source).max())) if several else plain
    return Beside(tuple(names), tuple(targets), made, best)


def _column(
    panel: Panel, parts: Sequence[tuple[list[int], Singles]], numbers: Mapping[str, Clusters], size: float
) -> Column:
    adapter = np.array([one for ids, _ in parts for one in ids])
    order = np.argsort(adapter)
    of_task = numbers[panel.task]
    difference = (size * np.concatenate([values for _, values in parts])[order]).astype(np.float32)
    task, cluster = list(numbers).index(panel.task), of_task.start + of_task.of(panel)
    graded = not bool(np.isin(panel.norm[~np.isnan(panel.norm)], (0.0, 1.0)).all())
    whole = size * float(np.nanmax(np.abs(panel.norm))) if graded else size
    return Column(difference, adapter[order], cluster, task, whole, graded)


def _beside(panel: Panel, group: pl.DataFrame, others: Mapping[str, Seeds], numbers: Clusters) -> tuple[Singles, str]:
    """K × N: by how much a composition is above the best of the others under each of its seeds; and its name."""
    row_of = {unit: row for row, unit in enumerate(panel.units.tolist())}
    mine = panel.norm[[row_of[unit] for unit in group["unit"]]]
    named = {name: placed for name, units in others.items() if (placed := _rows(units, row_of))}
    if not named:
        return np.full_like(mine, np.nan), ""
    values = np.array([_values(panel, placed, group["seed"].to_list()) for placed in named.values()])
    overall = [float(np.nanmean(one)) if not np.isnan(one).all() else -np.inf for one in values]
    first = numbers.first[numbers.of(panel)] % 2 == 0
    return mine - best_elsewhere(values, first), list(named)[int(np.argmax(overall))]


def _rows(units: Seeds, row_of: Mapping[int, int]) -> dict[int | None, int]:
    return {seed: row_of[unit] for seed, unit in units.items() if unit in row_of}


def _values(panel: Panel, placed: Mapping[int | None, int], seeds: Sequence[int | None]) -> Singles:
    """K × N: under each seed; the mean over its own where it lacks that seed."""
    every = panel.norm[list(placed.values())]
    known = (~np.isnan(every)).sum(axis=0)
    mean = np.where(known > 0, np.nansum(every, axis=0) / np.maximum(known, 1), np.nan).astype(np.float32)
    return np.array([panel.norm[placed[seed]] if seed in placed else mean for seed in seeds])
