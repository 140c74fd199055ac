"""How sure a ranking is: the same scores drawn again, all together, by the rules their intervals follow.

Items move what they share: one normal number per cluster and draw, times what the cluster adds to each score. Seeds
move a source's cells, and as the variance between them is not known, it is drawn as well. Models, where there are
several, move the mean by their own deviations, as a multivariate t with M − 1 degrees of freedom; then only what the
items add to all models alike is drawn beside them. Where models' values are equal that says nothing, and what is within
them moves the mean. Pseudo-items are each score's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.inference.items import Floats, Grid
from analysis.inference.means import Means, of_models, shared_items
from analysis.inference.seeds import SeedSpread, seed_draws

DRAWS = 2000
TOP = 3


def draws_within(
    one: Means, weights: Floats, cells: tuple[Grid, SeedSpread], n: int, rng: np.random.Generator
) -> Floats:
    """A × n draws of one model's scores; `weights` (A × S × T) made them from these cells."""
    grid, spread = cells
    moved = one.clusters @ rng.standard_normal((grid.n_clusters, n))
    added = (one.clusters**2).sum(axis=1)
    real = np.maximum(one.items - one.pseudo, 0.0)
    moved *= np.sqrt(np.divide(real, added, where=added > 0, out=np.ones(len(moved))))[:, None]
    moved += _each(one.pseudo, n, rng)
    if spread.known:
        moved += np.tensordot(weights, seed_draws(grid, spread, n, rng, unsure=True), axes=([1, 2], [0, 1]))
    return np.asarray(one.value[:, None] + moved)


def _each(variance: Floats, n: int, rng: np.random.Generator) -> Floats:
    """A × n normal draws of these variances, of each score for itself."""
    drawn, some = np.zeros((len(variance), n)), variance > 0
    drawn[some] = np.sqrt(variance[some])[:, None] * rng.standard_normal((int(some.sum()), n))
    return drawn


def draws_over(several: Sequence[Means], n: int, rng: np.random.Generator) -> Floats:
    """A × n draws of the scores' means over models; NaN for scores that fewer than two models have."""
    values, at = np.array([one.value for one in several]), of_models(several)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.where(np.isnan(values), 0.0, values - at.mean) / np.sqrt(at.m * (at.m - 1))
    df = len(several) - 1
    tails = np.sqrt(df / rng.chisquare(max(df, 1), n))
    moved = (apart.T @ rng.standard_normal((len(several), n))) * tails
    clusters, shared = shared_items(several)
    size = np.sqrt(np.divide(shared, (clusters**2).sum(axis=1), where=shared > 0, out=np.zeros_like(shared)))
    moved += size[:, None] * (clusters @ rng.standard_normal((clusters.shape[1], n)))
    moved += _each(np.where(at.equal, at.variance, 0.0), n, rng)
    return np.asarray(np.where(at.m > 1, at.mean, np.nan)[:, None] + moved)


def chance_of_range(draws: Floats, value: Floats) -> float:
    """Share of draws about one common score that spread as far as the scores themselves do; NaN for fewer than two.

    As Tukey's range test, with the draws' own covariance: at 5 % the highest may be called higher than the lowest.
    """
    there = ~np.isnan(draws[:, 0])
    if there.sum() < 2:
        return float("nan")
    moved = draws[there] - value[there][:, None]
    return float((np.ptp(moved, axis=0) >= np.ptp(value[there]) - 1e-9).mean())


def among_top(draws: Floats, top: int = TOP) -> Floats:
    """Chance of each score to be among the highest; NaN where no more than so many are ranked."""
    there = ~np.isnan(draws[:, 0])
    chance = np.full(len(draws), np.nan)
    if there.sum() > top:
        ranks = (-draws[there]).argsort(axis=0).argsort(axis=0)
        chance[there] = (ranks < top).mean(axis=1)
    return chance
