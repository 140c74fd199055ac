"""The errors of a grid's Δ: what items and seeds add to each cell alone, and to the cells of a target or a source.

A target on which, by luck, few items were gained has a low Δ and a low variance both. Weighted by such variances the
level of a grid comes out too low where there are gains only, and too high where there are losses only. Variances that
targets' cells share are therefore moved towards their average, with as many degrees of freedom as `POOLED` says
(moderated variances: Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3(1); there these are learned, from variances alone).

Where targets ask the same items, in other languages, what a source does to an item it does in all of them: the part of
the errors from items that its cells have in common is no cell's own (`_alike`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.inference.items import Floats, Grid
from analysis.inference.seeds import SeedSpread, at_cells

LEAST = 1e-4  # a variance that is as good as 0
LEAST_SOURCES = 3  # from which what they have in common is told from what they do not
POOLED = 60.0  # degrees of freedom of targets' average variance: at 20 items it counts three times a target's own


@dataclass(frozen=True)
class Noise:
    """Variances of the errors of S × T Δ; those from items are a target's average, for a cell's own is too unsure."""

    own: Floats  # S × T: of the cell alone
    shared: Floats  # S × T: of what all cells of its target share, the base's items first of all
    seeds: Floats  # S × T: of what all cells of its source share


def noise(grid: Grid, spread: SeedSpread) -> Noise:
    """What items and seeds add to the Δ of one model."""
    there = ~np.isnan(grid.delta)
    own, shared, size = np.zeros(there.shape), np.zeros(there.shape[1]), np.ones(there.shape[1])
    for t, influence in enumerate(grid.influence):
        here, n = there[:, t], influence.shape[1]
        among = influence[here].astype(np.float64) @ influence[here].T * n / max(n - 1, 1)
        alone, s = np.trace(among), len(among)
        between = max(float(among.sum() - alone), 0.0) / (s * (s - 1)) if s > 1 else 0.0
        shared[t], size[t], own[:, t] = between, n, max(alone / max(s, 1) - between, LEAST)
    seeds = at_cells(spread, grid.n_seeds).variance
    together = spread.far
    met = there.any(axis=0)
    shared[met] = moderated((shared * size)[met], size[met] - 1) / size[met]
    everywhere = np.broadcast_to(shared, there.shape)
    alike = min(_alike(grid, own, there), float(own[there].min(initial=np.inf)) - LEAST)
    seeds = np.nan_to_num(seeds)
    return Noise(own - alike + seeds * (1 - together), everywhere, alike + seeds * together)


def _alike(grid: Grid, own: Floats, there: npt.NDArray[np.bool_]) -> float:
    """Covariance of the errors of two cells of a source: targets of a task ask the same items, or translations.

    By the items of its mean over targets, beyond what all sources have in common; of all sources together.
    """
    weight = there / there.sum(axis=1, keepdims=True).clip(1)
    sums = np.zeros((len(there), grid.n_clusters))
    for t, (influence, cluster) in enumerate(zip(grid.influence, grid.cluster, strict=True)):
        here = there[:, t]
        if here.sum() > 1:
            sums[np.ix_(here, cluster)] += weight[here, t][:, None] * (influence[here] - influence[here].mean(axis=0))
    n = int(there.any(axis=1).sum())
    if n < LEAST_SOURCES:
        return 0.0
    whole = (sums**2).sum() / (n - 1)
    apart = float((weight**2 * own).sum() / n)
    pairs = 1 - float((weight**2).sum() / n)
    return max((float(whole) - apart) / pairs, 0.0) if pairs > 0 else 0.0


def moderated(variance: Floats, df: Floats) -> Floats:
    """Variances of these degrees of freedom, moved towards their average."""
    return np.asarray((df * variance + POOLED * variance.mean()) / (df + POOLED))


def averaged(deltas: Sequence[Floats], noises: Sequence[Noise]) -> tuple[Floats, Noise]:
    """Mean Δ over the models that have a cell, and its errors; NaN where none has it."""
    have = np.array([~np.isnan(delta) for delta in deltas])
    m = have.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(have, deltas, 0.0).sum(axis=0) / m
        parts = [
            sum(np.where(h, getattr(one, name), 0.0) for h, one in zip(have, noises, strict=True)) / m**2
            for name in ("own", "shared", "seeds")
        ]
    return mean, Noise(*parts)
