"""Learning curves of metrics that all items together have: each by itself, in its own unit, from draws of the items.

A point is a mean over cells, a step what a point has more than the one before on the cells that both have. The draws
are the same for the base and for every size, so draw by draw they are subtracted, and what a mean varies by over draws
is its variance from items. Seeds add the variance of their means, source by source; each size has its own seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import KEYS, SOURCE, TARGET, Table, need
from analysis.inference.claims import LEVEL, q_values
from analysis.inference.means import Interval, interval, one_sided
from analysis.reading.grids import POINTS
from analysis.reading.scores import beside_base
from analysis.reading.study import Study
from analysis.statistics.graded import size_of
from analysis.statistics.samples.curves import FAMILIES, POINT, SIDES, by_size, curves_of, with_examples
from analysis.statistics.samples.graded import COLUMNS

Floats = npt.NDArray[np.float64]
NONE = "no source has samples that were scored by a metric of all items together"


@dataclass(frozen=True)
class _Cell:
    """One source of one size on one target: differences from the base, of K seeds, also in each of B draws."""

    difference_K: Floats
    draws_KB: Floats
    n_items: int


@dataclass(frozen=True)
class _Mean:
    """A mean over cells: its value, that in each draw, its variance from seeds with degrees of freedom, and items."""

    value: float
    draws_B: Floats
    seeds: float
    seeds_df: int
    n_items: int

    def less(self, other: _Mean) -> _Mean:
        return _Mean(
            self.value - other.value,
            self.draws_B - other.draws_B,
            self.seeds + other.seeds,
            self.seeds_df + other.seeds_df,
            min(self.n_items, other.n_items),
        )


def corpus_curve(study: Study) -> pl.DataFrame:
    """One row per point of every curve of each metric; NotComputable where no sample was scored by one."""
    rows = study.scores.filter(pl.col("replicates").is_not_null()) if study.scores.height else study.scores
    need(rows.height > 0, NONE)
    units = by_size(study.units, pl.col("unit").is_in(rows["unit"].to_list()))
    need(units.height > 0, NONE)
    mine = beside_base(study.scores, units).filter("comparable")
    need(mine.height > 0, NONE)
    found = [
        _family(part, str(metric), str(model), name, size_of(str(metric), part["value"].to_list()))
        for (model, metric), part in mine.group_by("model", "metric", maintain_order=True)
        for name in FAMILIES
    ]
    return with_examples(pl.concat(found), study, units).select(*COLUMNS).sort("metric", maintain_order=True)


def _family(rows: pl.DataFrame, metric: str, model: str, name: str, size: float) -> pl.DataFrame:
    """The curves of a model's tasks, or of its sources, by one metric."""
    cells, points, means, steps = _cells(rows, size), [], list[_Mean](), list[_Mean | None]()
    named = rows.select(*KEYS).unique(maintain_order=True)
    at = named.with_columns(pl.struct(*SOURCE, *TARGET).alias("cell"))
    for key, curve in curves_of(at, FAMILIES[name]):
        before: dict[tuple[str, ...], _Cell] | None = None
        for (sample,), now in curve.partition_by("size", as_dict=True, maintain_order=True).items():
            own = {_place(cell): cells[tuple(cell.values())] for cell in now["cell"].to_list()}
            points.append((name, model, *key, sample or None, now.height))
            means.append(_mean(own))
            both = [] if before is None else [place for place in own if place in before]
            two = [_mean({place: each[place] for place in both}) for each in (own, before or {})] if both else []
            steps.append(two[0].less(two[1]) if two else None)
            before = own
    at_, more = _intervals(means), _intervals(steps)
    p = dict(zip(SIDES, one_sided(more), strict=True))
    values = {"mean": at_.value, "low": at_.low, "high": at_.high}
    values |= {"step": more.value, "step_low": more.low, "step_high": more.high}
    values |= {f"p_{side}": p[side] for side in SIDES} | {f"q_{side}": q_values(p[side]) for side in SIDES}
    several = all(len(cell.difference_K) > 1 for cell in cells.values())
    table = pl.DataFrame(points, schema=POINT, orient="row").with_columns(
        *(pl.Series(column, numbers).fill_nan(None) for column, numbers in values.items()),
        pl.lit(metric).alias("metric"),
        pl.lit("points" if size == POINTS else metric).alias("unit"),
        pl.lit("the source" if several else "this adapter").alias("about"),
    )
    return table.with_columns((pl.col(f"q_{side}") <= LEVEL).alias(side) for side in SIDES)


def _cells(rows: pl.DataFrame, size: float) -> dict[tuple[str, ...], _Cell]:
    found = {}
    for cell, part in rows.group_by(*SOURCE, *TARGET, maintain_order=True):
        oriented = -size if part["higher_is_better"][0] is False else size
        draws, base = (np.array(part[f"{side}replicates"].to_list(), np.float64) for side in ("", "base_"))
        found[tuple(map(str, cell))] = _Cell(
            oriented * (part["value"] - part["base_value"]).to_numpy(), oriented * (draws - base), part["n_items"][0]
        )
    return found


def _place(cell: Mapping[str, str]) -> tuple[str, ...]:
    """A cell without its size."""
    task, *rest = cell.values()
    return task.partition("@")[0], *rest


def _mean(cells: Mapping[tuple[str, ...], _Cell]) -> _Mean:
    sources: dict[tuple[str, ...], list[Floats]] = {}
    for place, cell in cells.items():
        sources.setdefault(place[:2], []).append(cell.difference_K)
    n, seeds, df = len(cells), 0.0, 0
    for own in sources.values():
        least = min(map(len, own))
        sums_K = np.sum([each[:least] for each in own], axis=0) / n
        if least > 1:
            seeds, df = seeds + float(np.var(sums_K, ddof=1)) / least, df + least - 1
    value = float(np.mean([cell.difference_K.mean() for cell in cells.values()]))
    draws_B = np.mean([cell.draws_KB.mean(axis=0) for cell in cells.values()], axis=0)
    return _Mean(value, draws_B, seeds, df, min(cell.n_items for cell in cells.values()))


def _intervals(found: Sequence[_Mean | None]) -> Interval:
    """Satterthwaite's, of items and seeds; NaN where there is nothing, or no draw differs."""
    value, variance, df = np.array([_spread(one) for one in found]).reshape(-1, 3).T
    return interval(value, variance, df, 0.95)


def _spread(one: _Mean | None) -> tuple[float, float, float]:
    if one is None:
        return np.nan, np.nan, np.nan
    items = float(np.nanvar(one.draws_B, ddof=1))
    if items + one.seeds == 0:
        return one.value, np.nan, np.nan
    unsure = items**2 * (1 / (len(one.draws_B) - 1) + 1 / max(one.n_items - 1, 1))
    unsure += one.seeds**2 / one.seeds_df if one.seeds_df else 0.0
    return one.value, items + one.seeds, (items + one.seeds) ** 2 / unsure


TABLES = (
    Table[Study](
        "corpus_curve",
        "What more examples bring, by metrics of the whole corpus",
        "draws of the items under samples and the sources that they are drawn from",
        COLUMNS,
        corpus_curve,
    ),
)
