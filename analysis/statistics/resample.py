"""Resampling items and seeds, as matrix products.

Idea: drawing N items with replacement is a vector of counts; B draws are an N × B matrix W of counts / N, so the
resampled Δ of every unit of a panel is one product. Items of a task are drawn alike in every model and language,
because they are the same (or parallel) questions. Every draw follows from one seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import SEED, SOURCE
from analysis.reading.panels import Panel

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass
class ItemDraws:
    """Weights of the items of a task with N items: N × B, the same whenever they are asked for again."""

    draws: int
    seed: int = SEED
    _last: tuple[tuple[str, int], Floats] | None = field(default=None, repr=False)

    def weights(self, task: str, n: int) -> Floats:
        """Those of one task, N × B; kept until another is asked for."""
        if self._last is None or self._last[0] != (task, n):
            rng = np.random.default_rng([self.seed, zlib.crc32(task.encode()), n])
            drawn = rng.integers(0, n, (self.draws, n)) + n * np.arange(self.draws)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=n * self.draws).reshape(self.draws, n)
            self._last = ((task, n), np.ascontiguousarray((counts / n).T, dtype=np.float32))
        return self._last[1]


@dataclass(frozen=True)
class Rows:
    """Trained units of one panel: their sources, and their differences from the base item by item."""

    sources: list[tuple[str, str]]  # S
    source: Ints  # U: index into sources
    unit: Ints  # U: row of the units frame
    difference: Floats  # U × N: adapter − base on the normalised score; NaN where the unit lacks the item

    def estimates(self, weights: Floats) -> Floats:
        """Δ in pp of every unit under every draw, U × B."""
        absent = np.isnan(self.difference)
        if not absent.any():
            return 100 * (self.difference @ weights)
        total = np.where(absent, 0, self.difference) @ weights
        with np.errstate(invalid="ignore", divide="ignore"):
            result: Floats = 100 * total / ((~absent).astype(np.float32) @ weights)
        return result


def trained_rows(panel: Panel, units: pl.DataFrame) -> Rows | None:
    """Rows of a panel's trained units, sorted by source and seed; None when it has none."""
    here = units[panel.units.tolist()].with_columns(pl.Series("row", np.arange(len(panel.units))))
    kept = here.filter(pl.col("kind") == "trained", pl.col("score").is_not_null()).sort(*SOURCE, "seed")
    if not kept.height:
        return None
    names = kept.select(SOURCE).unique(maintain_order=True).rows()
    at = {name: i for i, name in enumerate(names)}
    source = np.array([at[row] for row in kept.select(SOURCE).iter_rows()])
    rows = kept["row"].to_numpy()
    return Rows(names, source, panel.units[rows], panel.norm[rows] - panel.norm[0])


def seed_weights(source: Ints, draws: int, rng: np.random.Generator, alike: bool = False) -> Floats:
    """Weights of units under draws of seeds with replacement within each source, U × B; a source's weights sum to 1.

    With `alike`, sources with as many seeds share their draws: enough where sources are looked at one by one.
    """
    weights = np.empty((len(source), draws), np.float32)
    drawn: dict[int, Floats] = {1: np.ones((1, draws), np.float32)}
    for index in np.unique(source):
        mine = np.flatnonzero(source == index)
        k = len(mine)
        if k not in drawn or not (alike or k == 1):
            drawn[k] = (rng.multinomial(k, np.full(k, 1 / k), draws).T / k).astype(np.float32)
        weights[mine] = drawn[k]
    return weights


def interval(values: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """2.5th and 97.5th percentile of each row of S × B draws, linearly interpolated; NaN draws are left out."""
    if np.isnan(values).any():
        low, high = np.nanquantile(values, [0.025, 0.975], axis=1)
        return low, high
    ordered = np.sort(values, axis=1)  # faster here than a partition: sorting 32-bit floats is vectorised
    ends = []
    for q in (0.025, 0.975):
        place, part = divmod(q * (values.shape[1] - 1), 1)
        left = ordered[:, int(place)].astype(np.float64)
        right = ordered[:, min(int(place) + 1, values.shape[1] - 1)].astype(np.float64)
        ends.append(left + part * (right - left))
    return ends[0], ends[1]


def by_source(values: Floats, source: Ints, n_sources: int) -> Floats:
    """Sum the units of each source (units are sorted by source): U × B to S × B."""
    starts = np.searchsorted(source, np.arange(n_sources))
    sizes = np.diff(starts, append=len(source))
    if (sizes == sizes[0]).all():
        return np.asarray(values.reshape(n_sources, sizes[0], -1).sum(axis=1))
    return np.asarray(np.add.reduceat(values, starts, axis=0))


def tasks_together(panels: Sequence[Panel]) -> list[Panel]:
    """Panels in an order that asks for each task's item draws once."""
    return sorted(panels, key=lambda panel: (panel.task, len(panel.docs), panel.model, panel.language))
