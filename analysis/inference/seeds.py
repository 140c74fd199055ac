"""How much Δ varies between seeds of a source beyond what its items make it vary, pooled over a model.

Half the mean square of the difference of two seeds of a source, over its targets, is the variance between seeds plus
what the choice of items adds (`noise`). One cell has K − 1 degrees of freedom and is useless, so targets are averaged,
and sources lend each other what they know (moderated variances: Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3(1)): a
source's own variance, of d degrees of freedom, and the mean of all, as many as d₀ say, are weighted by them and leave
d₀ + d, never more than all sources have. How alike sources are, d₀, is learned from the spread of the logarithms, taken
at its upper end, for it is known badly; so sources count as alike only as far as they are seen to be. Of three sources
or more one may stand alone: the one whose seeds differ by more than chance allows beside the others' (a seed that
diverged). It has its own variance and degrees of freedom, and the others are judged without it.

A seed that is better everywhere moves all targets of its source together: products of differences on two targets tell
how far, apart for targets of one task (`near`) and of two (`far`). Then T targets are not T times as much evidence: of
one cell, d is K − 1 over the mean squared correlation of targets; of a mean over targets, whose variance is mostly
what they share, it is K − 1.

With few degrees of freedom the variance is often estimated far too small, and then items, of which there are many,
would lend it theirs. Degrees of freedom are therefore the fewer of Satterthwaite's (1946) at the estimate and at the
upper bound of what seeds may add (`joined`): this is the one rule for cells, means, draws and ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from analysis.inference.items import Floats, Grid, Ints

DOUBT = 0.01  # chance that seeds vary by more than their upper bound
ALONE = 0.05  # chance that, of sources that are all alike, one is told from the others
LEAST = 0.02  # of what items add: a smaller square of differences is a tie of whole items, and has no logarithm


class Contrasts(Protocol):
    """What a `Grid` has of its seeds."""

    @property
    def delta(self) -> Floats: ...  # S × T
    @property
    def contrast(self) -> Floats: ...  # P × T
    @property
    def noise(self) -> Floats: ...  # P × T
    @property
    def pair(self) -> Ints: ...  # P
    @property
    def task(self) -> Ints: ...  # T


@dataclass(frozen=True)
class SeedSpread:
    """Where no source of the model has two seeds nothing is `known`: all is 0 and Δ is that of the adapters at hand."""

    known: bool
    pooled: float  # variance between seeds on one target, all sources but a lone one together
    each: Floats  # S: of each source
    noise: Floats  # S: what items add to it between seeds, which was estimated together with it
    near: float  # correlation of what a seed adds on two targets of a task
    far: float  # and of two tasks; no more than `near`
    df: Floats  # S: degrees of freedom of the variance on one target
    df_mean: Floats  # S: and of that of a mean over targets


@dataclass(frozen=True)
class Added:
    """What seeds add to the variances of some values."""

    variance: Floats
    whole: Floats  # the same with the items' noise that was estimated together with it
    df: Floats  # degrees of freedom of `whole`


def seed_spread(grid: Contrasts) -> SeedSpread:
    """Pool over targets, then over sources, of one model."""
    n_sources = len(grid.delta)
    sources = np.unique(grid.pair[~(np.isnan(grid.contrast) | np.isnan(grid.noise)).all(axis=1)])
    if not len(sources):
        nothing, one = np.zeros(n_sources), np.ones(n_sources)
        return SeedSpread(False, 0.0, nothing, nothing, 0.0, 0.0, one, one)
    own = np.array([_estimates(grid, s) for s in sources])
    noise = np.array([float(np.nanmean(grid.noise[grid.pair == s])) / 2 for s in sources])
    seeds = own[:, 0] - noise
    k = np.array([n_seeds(int((grid.pair == s).sum())) - 1.0 for s in sources])
    rest = ~_alone(own[:, 0], k)
    pooled = float(np.average(seeds[rest], weights=k[rest]))
    far, near = (_correlation(own[rest, part], seeds[rest]) for part in (2, 1))
    near = max(near, far)
    above = np.maximum(seeds, max(pooled, 0.0))
    df = k / np.array([_likeness(grid, s, one, (near, far)) for s, one in zip(sources, above, strict=True)])
    prior = _prior(np.maximum(own[:, 0], LEAST * noise)[rest], df[rest])
    lent = np.where(rest, prior, 0.0)
    each, around = np.full(n_sources, max(pooled, 0.0)), np.full(n_sources, noise.mean())
    each[sources] = np.maximum(pooled + (seeds - pooled) * (df / (df + lent)), 0.0)
    around[sources] = noise
    of = [np.full(n_sources, min(prior, float(d[rest].sum()))) for d in (df, k)]
    for whole, d in zip(of, (df, k), strict=True):
        whole[sources] = np.where(rest, np.minimum(prior + d, d[rest].sum()), d)
    return SeedSpread(True, max(pooled, 0.0), each, around, near, far, *of)


def _alone(variance: Floats, df: Floats) -> npt.NDArray[np.bool_]:
    """Whether each source, one at most and of three or more, varies by more than chance allows beside the others."""
    from scipy.stats import f

    others = df.sum() - df
    with np.errstate(divide="ignore", invalid="ignore"):
        p = f.sf(variance / (((df * variance).sum() - df * variance) / others), df, others)
    alone = (p < ALONE / len(variance)) & (len(variance) > 2)
    return np.asarray(alone & (np.arange(len(variance)) == variance.argmax()))


def _correlation(products: Floats, variance: Floats) -> float:
    """Of what seeds add on two targets; 1 where no variance is seen, 0 where no two targets are."""
    told = ~np.isnan(products)
    if not told.any():
        return 0.0
    whole = variance[told].sum()
    return float(np.clip(products[told].sum() / whole, 0.0, 1.0)) if whole > 0 else 1.0


def _likeness(grid: Contrasts, source: int, variance: float, together: tuple[float, float]) -> float:
    """Mean squared correlation of two targets' differences of seeds, each target with itself among them."""
    mine = grid.pair == source
    there = ~np.isnan(grid.noise[mine]).all(axis=0)
    noise = np.nanmean(grid.noise[mine][:, there], axis=0) / 2
    joint = variance * np.where(grid.task[there][:, None] == grid.task[there], *together)
    np.fill_diagonal(joint, variance + noise)
    whole = float((variance + noise).mean())
    return float((joint**2).mean()) / whole**2 if whole else 1.0


def _prior(variance: Floats, df: Floats) -> float:
    """d₀: degrees of freedom that the mean of all sources lends each; without end where they look alike.

    The logarithm of a variance of d degrees of freedom varies by trigamma(d / 2), and by trigamma(d₀ / 2) if sources
    differ. Of n logarithms the variance is known with a relative error of √((excess + 2) / (n − 1)): one is added.
    """
    from scipy.special import polygamma, psi

    told = variance > 0
    n, d = int(told.sum()), df[told]
    if n < 2:
        return math.inf
    chance, middle = float(polygamma(1, d / 2).mean()), float(d.mean()) / 2
    seen = float((np.log(variance[told]) - psi(d / 2) + np.log(d / 2)).var(ddof=1))
    excess = float(polygamma(3, middle) / polygamma(1, middle) ** 2)
    return 2 * _trigamma_inverse(seen * (1 + math.sqrt((excess + 2) / (n - 1))) - chance)


def _trigamma_inverse(value: float) -> float:
    """Without end at 0 and below; ¼ at least."""
    from scipy.optimize import brentq
    from scipy.special import polygamma

    low, high = 0.25, 1e6
    if value <= polygamma(1, high):
        return math.inf
    return float(brentq(lambda x: polygamma(1, x) - value, low, high)) if value < polygamma(1, low) else low


def joined(items: Floats, unsure: Floats, seeds: Added) -> tuple[Floats, Floats]:
    """Standard error and degrees of freedom of values whose variance from items has a variance, `unsure`, itself.

    One at least: where items add next to nothing and seeds are told from the noise of other targets alone,
    Satterthwaite finds a tenth of one, and Student's t an interval of 10¹² points.
    """
    from scipy.stats import chi2

    most = seeds.whole * seeds.df / chi2.ppf(DOUBT, seeds.df)
    with np.errstate(divide="ignore", invalid="ignore"):
        df, least = (
            2 * (items + whole - (seeds.whole - seeds.variance)) ** 2 / (unsure + 2 * whole**2 / seeds.df)
            for whole in (seeds.whole, most)
        )
        return np.sqrt(items + seeds.variance), np.maximum(np.fmin(df, least), 1.0)


def _estimates(grid: Contrasts, source: int) -> Floats:
    """Half the mean square of its seeds' differences, half the mean product of two targets of a task, and of two tasks.

    NaN where it has no two such targets.
    """
    m = grid.contrast[grid.pair == source]
    seen, filled = ~np.isnan(m), np.nan_to_num(m)
    member = np.eye(int(grid.task.max()) + 1)[grid.task]
    alone, near = _sums(filled, seen), _sums(filled @ member, seen @ member)
    every = _sums(filled.sum(axis=1, keepdims=True), seen.sum(axis=1, keepdims=True))
    found = (alone, (near[0] - alone[0], near[1] - alone[1]), (every[0] - near[0], every[1] - near[1]))
    return np.array([0.5 * total / n if n else np.nan for total, n in found])


def _sums(m: Floats, count: npt.NDArray[np.generic]) -> tuple[float, int]:
    """Sum of squares, and how many products of two targets are in it."""
    return float((m**2).sum()), round(float((count.astype(np.float64) ** 2).sum()))


def n_seeds(pairs: int) -> int:
    """How many seeds have so many pairs."""
    return (1 + math.isqrt(1 + 8 * pairs)) // 2


def at_cells(spread: SeedSpread, seeds: Ints) -> Added:
    """What seeds add to the Δ of each of S × T cells with so many seeds."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(seeds > 0, 1 / seeds, np.nan)
    whole = (spread.each + spread.noise)[:, None] * share
    return Added(spread.each[:, None] * share, whole, np.broadcast_to(spread.df[:, None], share.shape))


def seed_draws(
    grid: Grid, spread: SeedSpread, n: int, rng: np.random.Generator, unsure: bool = False
) -> npt.NDArray[np.float32]:
    """What seeds add to the Δ of every cell in each of n draws: S × T × n, normal with these (co)variances.

    `unsure`: the variance is drawn too, as its degrees of freedom leave it open; the same luck for all sources.
    """
    shape = (*grid.n_seeds.shape, n)
    if not spread.known:
        return np.zeros(shape, np.float32)
    tasks = rng.standard_normal((shape[0], int(grid.task.max()) + 1, n), np.float32)[:, grid.task]
    moved = np.sqrt(spread.near - spread.far) * tasks
    moved += np.sqrt(spread.far) * rng.standard_normal((shape[0], 1, n), np.float32)
    moved += np.sqrt(1 - spread.near) * rng.standard_normal(shape, np.float32)
    each = np.tile(spread.each[:, None], (1, n)) if not unsure else _drawn(spread, n, rng)
    with np.errstate(divide="ignore"):
        share = np.where(grid.n_seeds > 0, 1 / grid.n_seeds, 0.0)
    return np.asarray(np.sqrt(share)[:, :, None] * np.sqrt(each)[:, None] * moved, dtype=np.float32)


def _drawn(spread: SeedSpread, n: int, rng: np.random.Generator) -> Floats:
    """S × n: variances of the sources that their estimates may stem from."""
    from scipy.stats import chi2

    luck, (df, back) = rng.random(n), np.unique(spread.df_mean, return_inverse=True)
    factor = (df[:, None] / chi2.ppf(luck, df[:, None]))[back]
    whole = spread.each + spread.noise
    return np.asarray(np.maximum(whole[:, None] * factor - spread.noise[:, None], 0.0))
