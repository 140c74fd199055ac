"""How sure a ranking is: the same scores drawn again, all together, by the rules their intervals follow.

Items move what they share: one normal number per cluster and draw, times what the cluster adds to each score. Seeds
move a source's cells, and as the variance between them is not known, it is drawn as well. Models, where there are
several, move the mean by their own deviations, as a multivariate t with M − 1 degrees of freedom; then only what the
items add to all models alike is drawn beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.inference.items import Floats, Grid
from analysis.inference.means import Means, shared_items
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
    moved *= np.sqrt(np.divide(one.items, added, where=added > 0, out=np.ones(len(moved))))[:, None]
    still = (added == 0) & (one.items > 0)  # no item has changed: pseudo-items, which no two scores share
    if still.any():
        moved[still] = np.sqrt(one.items[still])[:, None] * rng.standard_normal((int(still.sum()), n))
    if spread.known:
        moved += np.tensordot(weights, seed_draws(grid, spread, n, rng, unsure=True), axes=([1, 2], [0, 1]))
    return np.asarray(one.value[:, None] + moved)


def draws_over(several: Sequence[Means], n: int, rng: np.random.Generator) -> Floats:
    """A × n draws of the scores' means over models; NaN for scores that fewer than two models have."""
    values = np.array([one.value for one in several])
    have = ~np.isnan(values)
    m = have.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(have, values, 0.0).sum(axis=0) / m
        apart = np.where(have, values - mean, 0.0) / np.sqrt(m * (m - 1))
    df = len(several) - 1
    tails = np.sqrt(df / rng.chisquare(max(df, 1), n))
    moved = (apart.T @ rng.standard_normal((len(several), n))) * tails
    clusters, shared = shared_items(several)
    size = np.sqrt(np.divide(shared, (clusters**2).sum(axis=1), where=shared > 0, out=np.zeros_like(shared)))
    moved += size[:, None] * (clusters @ rng.standard_normal((clusters.shape[1], n)))
    return np.asarray(np.where(m > 1, mean, np.nan)[:, None] + moved)


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
