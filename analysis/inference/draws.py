"""What draws of the items say of a metric that all items together have: Δ of each source and target, and its spread.

Draw b takes the same items under the base and under every adapter, so draws are subtracted one by one: from the base's
for what the choice of items adds to Δ, from another seed's for what it adds to the difference of two seeds. Seeds are
pooled as in `seeds`. Degrees of freedom are Satterthwaite's, as in `cells`, but at the upper bound of what seeds may
vary by: of few seeds the variance is often estimated far too small, and then items, of which there are many, would
lend it degrees of freedom that it has not. In worlds without an effect, of two seeds of one source that vary much more
than items, 10 to 12 % of claims at 5 % were wrong at the estimate itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.inference.cells import satterthwaite
from analysis.inference.items import Floats, Ints, pairs
from analysis.inference.seeds import SeedSpread, at_cells, seed_spread

DOUBT = 0.01  # chance that seeds vary by more than their upper bound


@dataclass(frozen=True)
class Draws:
    """One target of one model: A adapters less the base, in B draws of the items too."""

    difference: Floats  # A
    draws: Floats  # A × B
    adapter: Ints  # A: row in the model's list of adapters, which is sorted by source; increasing
    n_items: int
    task: int = 0  # number of the target's task


@dataclass(frozen=True)
class Drawn:
    """S × T of one model: NaN where a source has not met a target."""

    delta: Floats  # mean difference over seeds
    se: Floats  # over items and seeds
    df: Floats
    n_seeds: Ints
    seeds_known: bool


@dataclass(frozen=True)
class _Contrasts:
    """Of seeds, as `seed_spread` takes them."""

    delta: Floats
    contrast: Floats
    noise: Floats
    pair: Ints
    task: Ints


def drawn(columns: Sequence[Draws], source: Ints) -> Drawn:
    """Estimates of every cell of a model; `source` numbers the source of each of its adapters, sorted."""
    shape, couples = (int(source.max()) + 1, len(columns)), pairs(source)
    delta, items = (np.full(shape, np.nan) for _ in range(2))
    contrast, noise = (np.full((len(couples[0]), len(columns)), np.nan) for _ in range(2))
    n_seeds = np.zeros(shape, np.int64)
    for t, column in enumerate(columns):
        here, starts, k = np.unique(source[column.adapter], return_index=True, return_counts=True)
        delta[here, t] = np.add.reduceat(column.difference, starts) / k
        items[here, t] = np.nanvar(np.add.reduceat(column.draws, starts, axis=0) / k[:, None], axis=1, ddof=1)
        n_seeds[here, t] = k
        at = np.full(len(source), -1)
        at[column.adapter] = np.arange(len(column.adapter))
        both = np.flatnonzero((at[couples[0]] >= 0) & (at[couples[1]] >= 0))
        one, two = (at[side[both]] for side in couples)
        contrast[both, t] = column.difference[one] - column.difference[two]
        noise[both, t] = np.nanvar(column.draws[one] - column.draws[two], axis=1, ddof=1)
    task = np.array([column.task for column in columns])
    spread = seed_spread(_Contrasts(delta, contrast, noise, source[couples[0]], task))
    of_items = np.array([column.n_items - 1 for column in columns])
    se, _ = satterthwaite((items, of_items), at_cells(spread, n_seeds))
    at_most = _at_most(spread, noise, source[couples[0]])
    _, df = satterthwaite((items, of_items), at_cells(at_most, n_seeds))
    return Drawn(delta, se, df, n_seeds, spread.known)


def _at_most(spread: SeedSpread, noise: Floats, pair: Ints) -> SeedSpread:
    """The same with the upper bound of each source's variance, items' noise in it: that is what was estimated."""
    from scipy.stats import chi2

    if not spread.known:
        return spread
    own = np.full(len(spread.each), np.nanmean(noise) / 2)
    for source in np.unique(pair[~np.isnan(noise).all(axis=1)]):
        own[source] = np.nanmean(noise[pair == source]) / 2
    whole, told = spread.each + own, spread.doubt > 0  # else no seed differs from another in anything
    df = np.divide(2 * whole**2, spread.doubt, out=np.ones_like(whole), where=told)
    most = np.where(told, whole * df / chi2.ppf(DOUBT, df), 0.0)
    return replace(spread, each=most, doubt=2 * most**2 / df)
