"""Means of many cells: how sure they are about items and seeds of one model, and about models where there are several.

A mean is a row of weights over S × T cells. Item noise: the influences of its cells are added up cluster by cluster
before they are squared, so a base that a whole column shares, and items that languages share, count once and in full.
Tasks are strata: each has its own items, as many as it has, and its own variance; their degrees of freedom are put
together by Satterthwaite (1946), as Welch does for two samples.
Seed noise: a source's seeds are its own, and move its targets together as `seeds` estimates. What the variances of two
sources are in doubt by may be the same error, so doubts are added up as if it were. A cell whose items all did alike
has no influences; its pseudo-items, as of single cells, keep the mean from looking certain (`_from_pseudo`). Over M
models the spread of the models' values is the error, with M − 1 degrees of freedom (normal intervals cover 70 % at
M = 2); it holds all noise that models do not share, and what they do share, the items, is added. Where the models'
values are equal their spread says nothing, and what items and seeds of each leave in doubt takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.inference.items import PSEUDO, Floats, Grid, Ints
from analysis.inference.seeds import Added, SeedSpread, joined

Bools = npt.NDArray[np.bool_]
SAME = 1e-9  # of a value or a variance: less is rounding


@dataclass(frozen=True)
class Means:
    """A means of one model's cells."""

    value: Floats  # A; NaN where there is no weight
    clusters: Floats  # A × C: what each cluster of items adds
    items: Floats  # A: variance from items
    pseudo: Floats  # A: what of it is pseudo-items
    seeds: Floats  # A: variance from seeds
    df: Floats  # A: degrees of freedom of both variances together


def means(grid: Grid, spread: SeedSpread, weights: Floats, sole: tuple[Floats, Floats] | None = None) -> Means:
    """The means with weights A × S × T, 0 where a cell takes no part and where there is no cell."""
    with np.errstate(invalid="ignore"):
        value = np.nansum(weights * grid.delta, axis=(1, 2))
    clusters, items, pseudo, unsure = _from_items(grid, weights)
    if sole:
        items, unsure = (
            np.where(np.isnan(own), of_all, own) for own, of_all in zip(sole, (items, unsure), strict=True)
        )
    seeds = _from_seeds(grid, spread, weights)
    _, df = joined(items, unsure, seeds)
    empty = ~weights.any(axis=(1, 2))
    return Means(np.where(empty, np.nan, value), clusters, items, pseudo, seeds.variance, df)


def _from_items(grid: Grid, weights: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """What each cluster adds, the variance of its sum, that of pseudo-items, and the variance of the estimate."""
    clusters, moves = np.zeros((len(weights), grid.n_clusters)), np.zeros(grid.delta.shape)
    task, lever = np.zeros(grid.n_clusters, np.int64), np.zeros(clusters.shape)
    for t, (influence, cluster) in enumerate(zip(grid.influence, grid.cluster, strict=True)):
        clusters[:, cluster] += weights[:, :, t] @ influence
        lever[:, cluster] += (np.abs(weights[:, :, t]).sum(axis=1, keepdims=True) * grid.share[t]) ** 2
        task[cluster] = grid.task[t]
        moves[:, t] = np.einsum("sn,sn->s", influence, influence, dtype=np.float64)
    member = np.eye(int(grid.task.max()) + 1)[task]
    n = (lever @ member) ** 2 / np.maximum(lever**2 @ member, 1e-300)  # A × tasks: clusters, were they all alike
    n = n.clip(2)
    items = clusters**2 @ member * n / (n - 1)
    alone = (weights**2 * moves).sum(axis=1) @ np.eye(member.shape[1])[grid.task]
    pseudo = _from_pseudo(grid, weights, moves <= SAME * np.nan_to_num(grid.items), items > SAME * alone)
    unsure = 2 * items**2 / (n - 1) + 2 * pseudo**2 / (n + PSEUDO - 1)
    return clusters, (items + pseudo).sum(axis=1), pseudo.sum(axis=1), unsure.sum(axis=1)


def _from_pseudo(grid: Grid, weights: Floats, still: Bools, told: Bools) -> Floats:
    """A × tasks: the variance that pseudo-items add for `still` cells (S × T), whose items all did alike.

    Each of them has what it has for itself. Where all are still, one pseudo-gain and one pseudo-loss move all of them,
    for how many cells an item moves nobody has seen: a mean of them is as unsure as one. An item that changed in
    another cell of the task did not move them: beside K such items (of the cell that has most) covariances are
    1 / (1 + K) of that. Where the mean of a task is not `told` (A × tasks) though its cells have changed, for what they
    add cancels item by item, all of them are still, and have pseudo-items as large as their changes.
    """
    member, there = np.eye(told.shape[1])[grid.task], weights != 0
    untold = ~told & (there.any(axis=1) @ member > 0)
    if not untold.any() and not there[:, still].any():
        return np.zeros(told.shape)
    counted = there & (still | untold[:, None, grid.task])
    n = grid.n_apart
    with np.errstate(divide="ignore", invalid="ignore"):
        changed = np.nan_to_num((grid.n_gains + grid.n_losses) * n / grid.n_items)
        typical = grid.square * n**2 / changed
        own = np.where(still | (changed == 0), grid.items, PSEUDO * typical / ((n + 1) * (n + PSEUDO)))
    size = np.where(counted, np.abs(weights) * np.sqrt(own), 0.0)
    most = (np.where(there & ~counted, changed, 0).max(axis=1)[:, :, None] * member).max(axis=1)
    apart, together = (size**2).sum(axis=1) @ member, (size.sum(axis=1) @ member) ** 2
    return np.asarray(apart + (together - apart) / (1 + most))


def alone(value: Floats) -> Means:
    """Means whose items are not known: nothing can be said of them within one model."""
    unknown = np.full(len(value), np.nan)
    return Means(value, np.zeros((len(value), 1)), unknown, unknown, unknown, unknown)


def _from_seeds(grid: Grid, spread: SeedSpread, weights: Floats) -> Added:
    """Σ over sources of w' Ω w / K, Ω made of the source's variance and the two correlations of `spread`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        w = np.where(grid.n_seeds > 0, weights / np.sqrt(grid.n_seeds), 0.0)
    member = np.eye(int(grid.task.max()) + 1)[grid.task]
    alone = (w**2).sum(axis=2)  # A × S
    near = ((w @ member) ** 2).sum(axis=2)
    every = w.sum(axis=2) ** 2
    kept = np.maximum(alone + (near - alone) * spread.near + (every - near) * spread.far, 0.0)
    variance, noise = kept * spread.each, alone * spread.noise
    df = np.where((w != 0).sum(axis=2) > 1, spread.df_mean, spread.df)
    whole, doubt = (variance + noise).sum(axis=1), ((variance + noise) * np.sqrt(2 / df)).sum(axis=1)
    together = np.divide(2 * whole**2, doubt**2, out=np.ones_like(whole), where=doubt > 0)
    return Added(variance.sum(axis=1), whole, together)


@dataclass(frozen=True)
class Interval:
    """Estimates with 95 % intervals, A each."""

    value: Floats
    se: Floats
    df: Floats
    low: Floats
    high: Floats


def within_model(one: Means, level: float = 0.95) -> Interval:
    """Intervals that speak of items and seeds of one model; Satterthwaite's degrees of freedom."""
    return interval(one.value, one.items + one.seeds, one.df, level)


def one_sided(one: Interval) -> tuple[Floats, Floats]:
    """p-values of "not below 0" and of "not above 0", by Student's t; NaN where there is nothing to tell by."""
    from scipy.stats import t

    with np.errstate(divide="ignore", invalid="ignore"):
        score = one.value / one.se
    return t.cdf(score, one.df), t.sf(score, one.df)


@dataclass(frozen=True)
class OfModels:
    """Means of A values over the models that have each."""

    mean: Floats  # A
    m: Ints  # A: models that have it
    variance: Floats  # A: of the mean
    df: Floats  # A
    equal: Bools  # A: whether the models' values are, so that the variance is of what is within them


def of_models(several: Sequence[Means]) -> OfModels:
    """s² / M with M − 1 degrees of freedom, s² the variance of the models' values.

    Where these are equal it is what items and seeds leave in doubt within the models, with the fewest degrees of
    freedom of theirs; pseudo-items may be the same in all models, for how many of them an item moves nobody has seen.
    """
    values = np.array([one.value for one in several])
    have = ~np.isnan(values)
    m = have.sum(axis=0)
    items, seeds, pseudo = (
        np.where(have, [getattr(one, name) for one in several], 0.0) for name in ("items", "seeds", "pseudo")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(have, values, 0.0).sum(axis=0) / m
        variance = (np.where(have, values - mean, 0.0) ** 2).sum(axis=0) / (m - 1) / m
        within = ((items - pseudo + seeds).sum(axis=0) + np.sqrt(pseudo).sum(axis=0) ** 2) / m**2
        fewest = np.where(have, [one.df for one in several], np.inf).min(axis=0)
        equal = (variance <= SAME**2) & (within > 0)
    return OfModels(mean, m, np.where(equal, within, variance), np.where(equal, fewest, m - 1.0), equal)


def over_models(several: Sequence[Means], level: float = 0.95) -> Interval:
    """Intervals that speak of models like these: each row's mean over the models that have it.

    s² / M is the models' own (`of_models`); C is what items that models share add: the variance of the mean's cluster
    sums less what the models' own sums would make it were they independent, floored at 0 (`shared_items`).
    Half-width √(t² s² / M + z² C), t with M − 1 degrees of freedom: a t of both together would let C, which is well
    known, make up for s², which is not.
    """
    from scipy.stats import norm, t

    at, (_, shared) = of_models(several), shared_items(several)
    with np.errstate(invalid="ignore"):
        half = np.sqrt(t.ppf((1 + level) / 2, at.df) ** 2 * at.variance + norm.ppf((1 + level) / 2) ** 2 * shared)
    value = np.where(at.m > 1, at.mean, np.nan)
    return Interval(value, np.sqrt(at.variance + shared), at.df, value - half, value + half)


def shared_items(several: Sequence[Means]) -> tuple[Floats, Floats]:
    """Cluster sums of the mean over models, A × C, and the variance of the mean that comes of items models share."""
    have = np.array([~np.isnan(one.value) for one in several])
    m = np.maximum(have.sum(axis=0), 1)
    kept = [np.where(h[:, None], one.clusters, 0.0) for one, h in zip(several, have, strict=True)]
    together = np.sum(kept, axis=0)
    apart = np.sum([(clusters**2).sum(axis=1) for clusters in kept], axis=0)
    return together / m[:, None], np.maximum((together**2).sum(axis=1) - apart, 0.0) / m**2


def interval(value: Floats, variance: Floats, df: Floats, level: float) -> Interval:
    """Student's t around the value; of width 0 where the variance is 0."""
    from scipy.stats import t

    se = np.sqrt(variance)
    half = np.where(se > 0, t.ppf((1 + level) / 2, np.where(df > 0, df, np.inf)) * se, se)
    return Interval(value, se, df, value - half, value + half)
