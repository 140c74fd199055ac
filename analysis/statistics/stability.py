"""How sure are the rankings? Donors and recipients with intervals from resampling items, seeds and models together.

Each of B draws takes the items of every task, the seeds of every source and the models with replacement, makes the
whole transfer table again and from it the scores of `language_roles` and `task_roles`. Reported: the 2.5th to 97.5th
percentile of each score and the chance that it is among the three highest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import SEED, Table, need
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.statistics.resample import (
    Floats,
    ItemDraws,
    by_source,
    interval,
    seed_weights,
    tasks_together,
    trained_rows,
)
from study.cells import regime

DRAWS = 1000
TOP = 3
REGIME_OF = {"MT-CL": "language", "CT-ML": "task"}
Key = tuple[str, str, str]  # kind, role, name


@dataclass
class Mean:
    """Running mean of S × B draws over rows, ignoring NaN."""

    total: Floats
    count: Floats

    def add(self, values: Floats) -> None:
        """Count rows of draws in."""
        here = ~np.isnan(values)
        self.total += np.where(here, values, 0).sum(axis=0)
        self.count += here.sum(axis=0)

    def mean(self) -> Floats:
        """Of all rows so far; NaN for draws that no row has."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.total / self.count)


def rank_stability(panels: Sequence[Panel], units: pl.DataFrame, draws: int = DRAWS, seed: int = SEED) -> pl.DataFrame:
    """`kind, role, name, estimate, low, high, p_top3, n_models`, best first within kind and role."""
    need(bool(panels), "it needs item rows, and there are none")
    models = sorted({panel.model for panel in panels})
    rng = np.random.default_rng([seed, 1])
    roles = {model: _model(model, panels, units, draws, seed, rng) for model in models}
    need(any(roles.values()), "there are no rows of regime MT-CL or CT-ML")
    chosen = rng.integers(0, len(models), (draws, len(models)))
    tables = []
    for kind, role in sorted({(kind, role) for found in roles.values() for kind, role, _ in found}):
        names = sorted({n for found in roles.values() for k, r, n in found if (k, r) == (kind, role)})
        blank = np.full(draws + 1, np.nan, np.float32)
        values = np.array([[roles[m].get((kind, role, n), blank) for n in names] for m in models])
        tables.append(_table(kind, role, names, values, chosen))
    return pl.concat(tables)


def _model(
    model: str, panels: Sequence[Panel], units: pl.DataFrame, draws: int, seed: int, rng: np.random.Generator
) -> dict[Key, Floats]:
    """Score of every (kind, role, name) in one model: the estimate first, then one value per draw."""
    items = ItemDraws(draws, seed)
    means: dict[Key, Mean] = {}
    weight = _weights(model, units, draws, rng)
    for panel in tasks_together([p for p in panels if p.model == model]):
        rows = trained_rows(panel, units)
        if rows is None:
            continue
        n = len(panel.docs)
        with_estimate = np.column_stack([np.full(n, 1 / n, np.float32), items.weights(panel.task, n)])
        scale = np.array([weight[int(u)] for u in rows.unit])
        have = by_source(scale, rows.source, len(rows.sources))
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = by_source(rows.estimates(with_estimate) * scale, rows.source, len(rows.sources)) / have
        _collect(means, panel, rows.sources, drawn)
    return {key: mean.mean() for key, mean in means.items()}


def _weights(model: str, units: pl.DataFrame, draws: int, rng: np.random.Generator) -> dict[int, Floats]:
    """Seed weights of every unit of a model, alike on all targets: the estimate's weight first, then the draws'."""
    mine = units.filter(pl.col("model") == model, pl.col("kind") == "trained")
    seeds = (
        mine.select("source_task", "source_language", "seed").unique().sort("source_task", "source_language", "seed")
    )
    source = (
        seeds.select(pl.struct("source_task", "source_language").rank("dense")).to_series().to_numpy().astype(np.int64)
    )
    drawn = seed_weights(source, draws, rng)
    table = np.column_stack([np.ones(len(source), np.float32), drawn])
    at = {row: table[i] for i, row in enumerate(seeds.iter_rows())}
    columns = mine.select("unit", "source_task", "source_language", "seed")
    return {unit: at[(task, language, number)] for unit, task, language, number in columns.iter_rows()}


def _collect(means: dict[Key, Mean], panel: Panel, sources: list[tuple[str, str]], drawn: Floats) -> None:
    for index, (task, language) in enumerate(sources):
        kind = REGIME_OF.get(regime(task, language, panel.task, panel.language))
        if kind is None:
            continue
        names = {"language": (language, panel.language), "task": (task, panel.task)}[kind]
        for role, name in zip(("donor", "recipient"), names, strict=True):
            size = drawn.shape[1]
            key = (kind, role, name)
            means.setdefault(key, Mean(np.zeros(size, np.float32), np.zeros(size, np.float32))).add(
                drawn[index : index + 1]
            )


def _table(
    kind: str, role: str, names: list[str], values: npt.NDArray[np.float32], chosen: npt.NDArray[np.int64]
) -> pl.DataFrame:
    """Summary of M × names × (1 + B) values, the models of each draw given."""
    estimate = np.nanmean(values[:, :, 0], axis=0, dtype=np.float64)
    total = np.zeros((len(names), chosen.shape[0]))
    count = np.zeros_like(total)
    for column in range(chosen.shape[1]):
        picked = values[chosen[:, column], :, 1 + np.arange(chosen.shape[0])].T
        here = ~np.isnan(picked)
        total += np.where(here, picked, 0)
        count += here
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = total / count
    low, high = interval(drawn.astype(np.float32))
    ranks = (-np.nan_to_num(drawn, nan=-np.inf)).argsort(axis=0).argsort(axis=0)
    table = pl.DataFrame(
        {
            "kind": [kind] * len(names),
            "role": [role] * len(names),
            "name": names,
            "estimate": estimate,
            "low": low,
            "high": high,
            "p_top3": (ranks < TOP).mean(axis=1),
            "n_models": (~np.isnan(values[:, :, 0])).sum(axis=0),
        }
    )
    return table.sort("estimate", "name", descending=[True, False])


TABLES = (
    Table[Study](
        "rank_stability",
        "How sure the rankings are",
        "MT-CL rows (languages) and CT-ML rows (tasks), from their items",
        {
            "kind": "language or task",
            "role": "donor or recipient",
            "name": "the language or task",
            "estimate": "its score, pp, as in language_roles and task_roles",
            "low": f"2.5th percentile over {DRAWS:,} draws of items, seeds and models, pp",
            "high": "97.5th percentile, pp",
            "p_top3": "share of draws in which it is among the three highest",
            "n_models": "models averaged",
        },
        lambda study: rank_stability(study.panels, study.units),
    ),
)
