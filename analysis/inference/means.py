"""Means of many cells: how sure they are about items and seeds of one model, and about models where there are several.

A mean is a row of weights over S × T cells. Item noise: the influences of its cells are added up cluster by cluster
before they are squared, so a base that a whole column shares, and items that languages share, count once and in full.
Tasks are strata: each has its own items, as many as it has, and its own variance; their degrees of freedom are put
together by Satterthwaite (1946), as Welch does for two samples.
Seed noise: a source's seeds are its own, and move its targets together as `seeds` estimates. What the variances of two
sources are in doubt by may be the same error, so doubts are added up as if it were. Where no item of a task's cells
has changed its pseudo-items, as of single cells, keep the mean from looking certain. Over M models the spread
of the models' values is the error, with M − 1 degrees of freedom (normal intervals cover 70 % at M = 2); it holds all
noise that models do not share, and what they do share, the items, is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.inference.items import PSEUDO, Floats, Grid
from analysis.inference.seeds import Added, SeedSpread, joined


@dataclass(frozen=True)
class Means:
    """A means of one model's cells."""

    value: Floats  # A; NaN where there is no weight
    clusters: Floats  # A × C: what each cluster of items adds
    items: Floats  # A: variance from items
    seeds: Floats  # A: variance from seeds
    df: Floats  # A: degrees of freedom of both variances together


def means(grid: Grid, spread: SeedSpread, weights: Floats, sole: tuple[Floats, Floats] | None = None) -> Means:
    """The means with weights A × S × T, 0 where a cell takes no part and where there is no cell."""
    with np.errstate(invalid="ignore"):
        value = np.nansum(weights * grid.delta, axis=(1, 2))
    clusters, items, unsure = _from_items(grid, weights)
    if sole:
        items, unsure = (
            np.where(np.isnan(own), of_all, own) for own, of_all in zip(sole, (items, unsure), strict=True)
        )
    seeds = _from_seeds(grid, spread, weights)
    _, df = joined(items, unsure, seeds)
    empty = ~weights.any(axis=(1, 2))
    return Means(np.where(empty, np.nan, value), clusters, items, seeds.variance, df)


def _from_items(grid: Grid, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """What each cluster adds, the variance of its sum, and the variance of that estimate."""
    clusters = np.zeros((len(weights), grid.n_clusters))
    met = np.zeros(clusters.shape, bool)
    task = np.zeros(grid.n_clusters, np.int64)
    for t, (influence, cluster) in enumerate(zip(grid.influence, grid.cluster, strict=True)):
        clusters[:, cluster] += weights[:, :, t] @ influence
        met[:, cluster] |= np.any(weights[:, :, t], axis=1, keepdims=True)
        task[cluster] = grid.task[t]
    member = np.eye(int(grid.task.max()) + 1)[task]
    n = (met @ member).clip(2)  # A × tasks
    items = clusters**2 @ member * n / (n - 1)
    pseudo = _untouched(grid, weights)
    unsure = 2 * items**2 / (n - 1) + 2 * pseudo**2 / (n + PSEUDO - 1)
    return clusters, (items + pseudo).sum(axis=1), unsure.sum(axis=1)


def _untouched(grid: Grid, weights: Floats) -> Floats:
    """A × tasks: the variance that pseudo-items add where no item of any of the task's cells has changed; else 0.

    That is what each of these cells has for itself, as if one pseudo-gain and one pseudo-loss moved all of them: how
    many cells an item moves nobody has seen.
    """
    member = np.eye(int(grid.task.max()) + 1)[grid.task]  # T × tasks
    still = (grid.n_gains + grid.n_losses == 0) | (weights == 0)
    moved = (~still).any(axis=1) @ member
    own = (np.abs(weights) * np.sqrt(np.where(grid.n_items > 0, grid.items, 0.0))).sum(axis=1) @ member
    return np.where(moved > 0, 0.0, own**2)


def alone(value: Floats) -> Means:
    """Means whose items are not known: nothing can be said of them within one model."""
    unknown = np.full(len(value), np.nan)
    return Means(value, np.zeros((len(value), 1)), unknown, unknown, unknown)


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


def over_models(several: Sequence[Means], level: float = 0.95) -> Interval:
    """Intervals that speak of models like these: each row's mean over the models that have it.

    s² / M is the models' own; C is what items that models share add: the variance of the mean's cluster sums less what
    the models' own sums would make it were they independent, floored at 0 (`shared_items`).
    Half-width √(t² s² / M + z² C), t with M − 1 degrees of freedom: a t of both together would let C, which is well
    known, make up for s², which is not.
    """
    from scipy.stats import norm, t

    values = np.array([one.value for one in several])
    have = ~np.isnan(values)
    m = have.sum(axis=0)
    _, shared = shared_items(several)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(have, values, 0.0).sum(axis=0) / m
        spread = (np.where(have, values - mean, 0.0) ** 2).sum(axis=0) / (m - 1) / m
        still = ~np.any([one.clusters.any(axis=1) for one in several], axis=0) & (spread == 0)
        alike = sum(np.where(one_has, one.items, 0.0) for one_has, one in zip(have, several, strict=True)) / m**2
        spread = np.where(still & ~np.isnan(alike), alike, spread)  # pseudo-items alone
        half = np.sqrt(t.ppf((1 + level) / 2, m - 1) ** 2 * spread + norm.ppf((1 + level) / 2) ** 2 * shared)
    value = np.where(m > 1, mean, np.nan)
    return Interval(value, np.sqrt(spread + shared), (m - 1).astype(np.float64), value - half, value + half)


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
