"""What a printed harm rate is worth: what noise alone would print, and how much harm there is at least.

The rate counts cells with Δ ≤ −1 pp. Its *floor* is what item and seed noise alone would print if every Δ were 0: Δ
lies on the lattice of whole items, so the normal tail is taken half a step on.

The *bound* is a lower 95 % bound on the share of cells truly at or below −1 pp (Meinshausen and Rice 2006, Ann. Stat.
34): p-values of H0: Δ ≥ −1 lie below t more often than chance allows by at least that share,
sup over t of (F(t) − t − β √(t(1 − t))) / (1 − t). Cells of a column share the base's items, and a source's share its
seeds, so p-values come in clumps; β is therefore the 95th percentile of sup (F(t) − t) / √(t(1 − t)) over draws in
which every Δ is −1 and the noise has the covariance that influences and seeds give it. No such bound holds for Δ < 0.
"""

from __future__ import annotations

import numpy as np

from analysis.inference.items import Floats, Grid, Singles
from analysis.inference.seeds import SeedSpread, at_cells, seed_draws

DRAWS = 200
WIDEST = 0.5  # t beyond which nothing is learned of small p-values


def noise_floor(grid: Grid, spread: SeedSpread, harm: float | Floats, step: float = 100.0) -> Floats:
    """S × T chances to print Δ ≤ `harm`, of each target or of all, if Δ is 0.

    `step` is what one item that is right or wrong adds to Σ x.
    """
    from scipy.stats import norm

    seeds = at_cells(spread, grid.n_seeds).variance
    with np.errstate(divide="ignore", invalid="ignore"):
        sd = np.sqrt(grid.square + seeds)
        whole = step / (grid.n_items * grid.n_seeds)
        reached = np.where(grid.graded, harm, -whole * np.ceil(-harm / whole - 1e-9) + whole / 2)
        return np.where(np.isnan(grid.delta), np.nan, np.where(sd > 0, norm.cdf(reached / sd), 0.0))


def null_scores(grid: Grid, spread: SeedSpread, noise: Singles, rng: np.random.Generator) -> Singles:
    """Normal scores of every cell in each draw: S × T × B. `noise` is C × B, one for all models that share items."""
    scores = seed_draws(grid, spread, noise.shape[1], rng)
    for t, (influence, cluster) in enumerate(zip(grid.influence, grid.cluster, strict=True)):
        scores[:, t] += influence @ noise[cluster]
    seeds = at_cells(spread, grid.n_seeds).variance
    with np.errstate(divide="ignore", invalid="ignore"):
        sd = np.sqrt(np.array([(i**2).sum(axis=1) for i in grid.influence]).T + seeds)
        return np.asarray(scores / sd[:, :, None], dtype=np.float32)


def bounding(scores: Singles, level: float = 0.95) -> float:
    """β: the percentile over draws of the largest standardised excess of small p-values; scores are n × B."""
    from scipy.special import ndtr

    return float(np.quantile(excess(np.sort(ndtr(scores), axis=0)), level))


def excess(p: Floats | Singles) -> Floats:
    """sup over t in [1/n, ½] of (F(t) − t) / √(t(1 − t)) of every column; columns are sorted."""
    n = len(p)
    share = np.arange(1, n + 1)[:, None] / n
    t: Floats = np.clip(p, 1 / n, WIDEST).astype(np.float64)
    return np.asarray(np.where(p <= WIDEST, (share - t) / np.sqrt(t * (1 - t)), 0.0).max(axis=0, initial=0.0))


def lower_bound(p: Floats, beta: float) -> float:
    """Lower bound on the share of cells whose null hypothesis is false."""
    p = np.sort(p[~np.isnan(p)])
    n = len(p)
    t = np.clip(p, 1 / n, WIDEST)
    found = (np.arange(1, n + 1) / n - t - beta * np.sqrt(t * (1 - t))) / (1 - t)
    return float(found[p <= WIDEST].max(initial=0.0))
