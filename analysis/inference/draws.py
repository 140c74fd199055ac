"""What draws of the items say of a metric that all items together have: Δ of each source and target, and its spread.

Draw b takes the same items under the base and under every adapter, so draws are subtracted one by one: from the base's
for what the choice of items adds to Δ, from another seed's for what it adds to the difference of two seeds. Seeds are
pooled as in `seeds`, and so are degrees of freedom. B draws of N items tell their variance no better than B − 1 and
N − 1 degrees of freedom together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.inference.items import Floats, Ints, pairs
from analysis.inference.seeds import at_cells, joined, seed_spread


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
    shapes = np.array([(column.n_items, column.draws.shape[1]) for column in columns], np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # one item varies by nothing: how it would is not known
        unsure = items**2 * (2 / (shapes - 1)).sum(axis=1)
    se, df = joined(items, unsure, at_cells(spread, n_seeds))
    return Drawn(delta, se, df, n_seeds, spread.known)
