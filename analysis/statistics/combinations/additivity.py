"""Does Σ w_i·Δ_i(target) tell what a composition does? Parts' Δ, weighted as the parts are, against what was measured.

A point is a composed adapter, of any lambda and seed, on a target on which all of its parts were scored; one that is
nothing but a part of it is none, nor is what is no sum of updates: of `ties` and its kin each entry is a mean of those
that agree, and `arrow` weighs its parts for each token. Parts and composition are of one seed, so that what seeds add
is in both. Noise of the items, which they share, lets r look better or worse than it is: slope, `pearson_clean` and
`rmse_clean` are made of products of one half of the items and the other (`analysis/inference/agreement.py`). If updates
did nothing to one another the slope were 1 and `rmse_clean` 0.

Intervals are from draws of items (the same question once in all languages), seeds and targets; each is moved so that
its middle is the estimate, for items that are drawn again are noisier, and is as much wider as few targets ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.frames import SEED, TARGET, Table, need
from analysis.inference.agreement import FEWEST, agreement, told
from analysis.inference.items import Floats
from analysis.reading.grids import Clusters, clusters
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.statistics.combinations.reported import (
    SEARCHED,
    all_scales,
    composed_of,
    every_unit,
    relation,
    stages,
    within,
)
from analysis.statistics.graded import Scale
from study.cells import REGIMES, Cell

DRAWS = 200
ALL = "all"
HALVES = 3  # all items, those of even doc_id, those of odd
NO_SUMS = ("arrow", "ties", "dare_ties", "factors_peft_ties")  # parts mixed token by token, or elected and averaged
NO_PARTS = "no composition that is a sum has been scored on a target that all of its parts were scored on, too"


@dataclass(frozen=True)
class Points:
    """P points of one metric in D draws of the items, the first of which is the items themselves."""

    about: pl.DataFrame  # P: adapter_id, model, method, seed, target…, regime
    predicted: list[Floats]  # P × D, from all items and from either half
    measured: list[Floats]


def additivity(study: Study) -> pl.DataFrame:
    """One row per metric, method and regime; NotComputable where no composition has parts scored beside it."""
    composed_of(study)
    rows = []
    for scale in all_scales(study):
        points = points_of(study, scale, DRAWS)
        if points is not None:
            weights = _weights(points.about)
            rows += [_row(scale, points, weights, *group) for group in _groups(points.about)]
    need(bool(rows), NO_PARTS)
    return pl.DataFrame(rows, infer_schema_length=None).fill_nan(None).select(*COLUMNS)


def points_of(study: Study, scale: Scale, draws: int = 0) -> Points | None:
    """Every point of a metric; None where there is none."""
    placed = dict(zip(study.units.select("adapter_id", *TARGET).iter_rows(), study.units["unit"], strict=True))
    sums = ~pl.col("method").str.strip_suffix(f" {SEARCHED}").is_in(NO_SUMS)
    units = within(every_unit(study).filter(sums), scale.panels).unique(["unit", "method"], maintain_order=True)
    staged = stages(study)
    numbers = clusters(scale.panels)
    drawn = _drawn_items(numbers, draws)
    about, values = [], []
    for panel in scale.panels:
        here = units.filter(model=panel.model, target_task=panel.task, target_language=panel.language)
        rows = list(_rows(panel, here, placed, staged))
        if rows:
            about += [one for one, _, _ in rows]
            counts = [half[numbers[panel.task].of(panel)] for half in drawn[panel.task]]
            values.append(_values(panel, rows, counts, scale.measure.size))
    if not about:
        return None
    sides = [[np.concatenate([one[side][h] for one in values]) for h in range(HALVES)] for side in (0, 1)]
    return Points(pl.DataFrame(about, infer_schema_length=None), *sides)


def _rows(
    panel: Panel,
    units: pl.DataFrame,
    placed: Mapping[tuple[str, str, str], int],
    staged: Mapping[str, Sequence[Cell]],
) -> Iterator[tuple[dict[str, object], int, dict[int, float]]]:
    """What each point is of, the row of its composition, and those of its parts with their weights."""
    row_of = {unit: row for row, unit in enumerate(panel.units.tolist())}
    for one in units.iter_rows(named=True):
        terms = [(term["subject_id"], term["weight"]) for term in one["terms"] if term["weight"] != 0]
        parts = [(placed.get((part, panel.task, panel.language)), weight) for part, weight in terms]
        itself = len(parts) == 1 and parts[0][1] == 1
        if not itself and all(unit in row_of for unit, _ in parts):
            names = ("adapter_id", "model", "method", "seed", *TARGET)
            regime = relation(one["terms"], Cell(panel.task, panel.language), staged)
            weights: dict[int, float] = {}
            for unit, weight in parts:
                weights[row_of[unit]] = weights.get(row_of[unit], 0.0) + weight
            yield {name: one[name] for name in names} | {"regime": regime}, row_of[one["unit"]], weights


def _values(
    panel: Panel, rows: Sequence[tuple[object, int, Mapping[int, float]]], drawn: Sequence[Floats], size: float
) -> tuple[list[Floats], list[Floats]]:
    """Predicted and measured Δ of the points of a target, each P × D from all items and from either half."""
    used = sorted({row for _, mine, parts in rows for row in (mine, *parts)})
    at = {row: i for i, row in enumerate(used)}
    weights = np.zeros((len(rows), len(used)))
    for i, (_, _, parts) in enumerate(rows):
        for row, weight in parts.items():
            weights[i, at[row]] = weight
    difference = panel.norm[used] - panel.norm[0]
    there = (~np.isnan(difference)).astype(np.float64)
    known = size * np.nan_to_num(difference).astype(np.float64)
    predicted, measured = [], []
    for counts in drawn:
        with np.errstate(divide="ignore", invalid="ignore"):
            delta = (known @ counts) / (there @ counts)
        predicted.append(weights @ delta)
        measured.append(delta[[at[mine] for _, mine, _ in rows]])
    return predicted, measured


def _drawn_items(numbers: Mapping[str, Clusters], draws: int) -> dict[str, list[Floats]]:
    """Of each task how often every cluster of items is in each draw (C × D), of all and of either half.

    They are drawn within their half, so that a half never holds an item of the other.
    """
    rng = np.random.default_rng([SEED, 11])
    found = {}
    for task, one in numbers.items():
        counts, even = np.zeros((len(one.first), draws + 1)), one.first % 2 == 0
        for half in (np.flatnonzero(even), np.flatnonzero(~even)):
            counts[half, 0] = 1
            if len(half):
                counts[half, 1:] = rng.multinomial(len(half), np.full(len(half), 1 / len(half)), draws).T
        found[task] = [counts, np.where(even[:, None], counts, 0), np.where(even[:, None], 0, counts)]
    return found


def _weights(about: pl.DataFrame) -> Floats:
    """P × D: how often each point is in a draw, by how often its target and its seed are."""
    rng = np.random.default_rng([SEED, 12])
    weights = np.ones((about.height, DRAWS + 1))
    for columns in (TARGET, ["seed"]):
        codes = about.select(pl.struct(columns).rank("dense")).to_series().to_numpy().astype(np.int64) - 1
        n = int(codes.max()) + 1
        weights[:, 1:] *= rng.multinomial(n, np.full(n, 1 / n), DRAWS).T[codes]
    return weights


def _groups(about: pl.DataFrame) -> Iterator[tuple[str, str, Floats]]:
    """Every method, with all its points and with those of each regime."""
    for method in sorted(set(about["method"])):
        for regime in (ALL, *REGIMES):
            mine = pl.col("method") == method
            chosen = mine if regime == ALL else mine & (pl.col("regime") == regime)
            rows = about.select(chosen).to_series().to_numpy()
            if rows.sum() >= FEWEST:
                yield method, regime, rows


def _row(scale: Scale, points: Points, weights: Floats, method: str, regime: str, rows: Floats) -> dict[str, object]:
    x, y = ([half[rows] for half in side] for side in (points.predicted, points.measured))
    found = told(agreement(x, y, weights[rows]), points.about.filter(rows).select(TARGET).n_unique())
    return {
        "metric": scale.metric, "unit": scale.unit, "method": method, "regime": regime, "n": int(rows.sum()), **found
    }  # fmt: skip


_WORDS = {
    "pearson": "Pearson's correlation of Σ w_i·Δ_i with measured Δ",
    "spearman": "Spearman's correlation",
    "rmse": "root of the mean squared difference, noise of items in it",
    "slope": "of measured Δ on Σ w_i·Δ_i, without the noise of items: 1 if updates add up",
    "pearson_clean": "Pearson's correlation without the noise of items; null where nothing but noise varies",
    "rmse_clean": "the difference that is not noise of items: 0 if updates add up",
}
COLUMNS = {
    "metric": "accuracy, or the metric that items are graded by",
    "unit": "of Δ",
    "method": "how compositions were put together; not ties, dare_ties, factors_peft_ties or arrow, which are no sums",
    "regime": "all, or that of the target to the cells of all parts together",
    "n": "composed adapters and targets",
    **{
        name + end: words if not end else f"{side} end of its 95 % interval over items, seeds and targets"
        for name, words in _WORDS.items()
        for end, side in (("", ""), ("_low", "lower"), ("_high", "upper"))
    },
}
TABLES = (
    Table[Study](
        "additivity",
        "Does the sum of the parts tell what a composition does",
        "composed adapters that are sums, on targets that all of their parts were scored on",
        COLUMNS,
        additivity,
        how="For every composed adapter and target, the Δ of its parts with their weights, added up, beside what was "
        "measured. A slope of 1 and an rmse_clean of 0 mean that parts do not touch one another: then one need not "
        "compose to know. A slope below 1 means that less comes of it.",
    ),
)
