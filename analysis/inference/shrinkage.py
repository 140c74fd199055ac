"""What to expect of a source on a target once it has been picked for its high Δ.

The highest of many noisy numbers is high partly by luck. Expected values are therefore posterior means: Δ(s, t) = mean
+ regime + source + target + pair, the effects normal, measured with errors whose variances items and seeds tell: one
that a target's cells share (its base, its items), one that a source's cells share (its seeds), and each cell's own. How
large the effects are is learned from the same grid (empirical Bayes), and as a small grid leaves that open, posteriors
are averaged over what their standard deviations may be; Metropolis draws from a seed. Effects of a kind may be absent,
which a smooth prior all but rules out: so half of the prior lies next to 0, the other half is half-Cauchy (Gelman 2006)
and as wide as the error with which one level is measured (spike and slab: George and McCulloch 1993, J. Am. Stat.
Assoc. 88). A posterior mean is unbiased whichever source it makes one pick, as far as effects are drawn as the prior
says; that it is so whatever the truth, no estimate can have (`docs/calibration.md`).

A target on which, by luck, few items were gained has a low Δ and a low variance both. Weighted by such variances the
level of a grid comes out too low where there are gains only, and too high where there are losses only. Variances that
targets' cells share are therefore moved towards their average, with as many degrees of freedom as `POOLED` says
(moderated variances: Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3(1); there these are learned, from variances alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.inference.items import Floats, Grid, Ints
from analysis.inference.seeds import SeedSpread, at_cells
from analysis.inference.shape import shaped

LEAST = 1e-4  # a variance that is as good as 0
SEED = 20251113
WARM_UP, DRAWS, EVERY = 120, 25, 12
ABSENT, NEAR = 0.5, 0.1  # chance that effects of a kind are absent, and how far from 0 that is, in errors of a level
STEPS = (1.0, 0.2)  # of the random walk in one standard deviation, in errors of a level, in turn
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
    return Noise(own + np.nan_to_num(seeds) * (1 - together), everywhere, np.nan_to_num(seeds) * together)


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


@dataclass(frozen=True)
class Measured:
    """n cells: Δ, where it stands, and the variances of its errors."""

    delta: Floats  # n
    source: Ints  # n
    target: Ints  # n
    group: Ints  # n: regime
    own: Floats  # n
    shared: Floats  # n
    seeds: Floats  # n


def measured(delta: Floats, group: Ints, of: Noise) -> Measured:
    """The cells of S × T that have a Δ."""
    there = ~np.isnan(delta)
    source, target = np.nonzero(there)
    return Measured(delta[there], source, target, group[there], of.own[there], of.shared[there], of.seeds[there])


@dataclass(frozen=True)
class Expected:
    """n posterior means and standard deviations; `spread` is that of the effects: source, target, pair, regime."""

    mean: Floats
    sd: Floats
    spread: Floats


def expected(seen: Measured, seed: int = SEED) -> Expected:
    """Posterior of every cell's Δ, averaged over what the effects' variances may be."""
    design = _design(seen)
    kept = _chain(seen, design, np.random.default_rng(seed))
    means, variances = zip(*(_posterior(seen, design, fit) for fit in kept), strict=True)
    sds = np.array([fit.sds for fit in kept])
    rest, pair, doubt = np.mean([_pair(seen, design, fit) for fit in kept], axis=0)
    fitted = np.mean([((design @ fit.covariance) * design).sum(axis=1) for fit in kept], axis=0)
    whole = (sds[:, 2] ** 2).mean() + LEAST + seen.own
    shaped_pair, shaped_doubt = shaped(rest, seen.own, sds[:, 2], 1 - fitted / whole)
    variance = np.mean(variances, axis=0) + np.var(means, axis=0) + shaped_doubt - doubt
    mean = np.mean(means, axis=0) + shaped_pair - pair
    return Expected(mean, np.sqrt(np.maximum(variance, LEAST)), sds.mean(axis=0))


@dataclass(frozen=True)
class _Fit:
    """The grid at given standard deviations of the effects."""

    sds: Floats
    criterion: float  # −2 × restricted log-likelihood
    mean: float
    effects: Floats
    covariance: Floats  # of the effects, given the data


def _design(seen: Measured) -> Floats:
    """n × Q: source, its seeds' error, target, its base's error, regime."""
    columns = (
        (seen.source, np.ones(len(seen.delta))),
        (seen.source, np.sqrt(seen.seeds)),
        (seen.target, np.ones(len(seen.delta))),
        (seen.target, np.sqrt(seen.shared)),
        (seen.group, np.ones(len(seen.delta))),
    )
    return np.hstack([np.eye(int(code.max()) + 1)[code] * size[:, None] for code, size in columns])


def _prior(seen: Measured, sds: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Variance of every effect, and whether it is part of the true Δ."""
    s, t, g = (int(code.max()) + 1 for code in (seen.source, seen.target, seen.group))
    source, target, _, regime = sds**2 + LEAST
    sizes, true = (s, s, t, t, g), (True, False, True, False, True)
    return np.repeat([source, 1.0, target, 1.0, regime], sizes), np.repeat(true, sizes)


def _fit(seen: Measured, design: Floats, sds: Floats) -> _Fit:
    """By Henderson's equations: everything is Q × Q."""
    prior, _ = _prior(seen, sds)
    weight = 1 / (sds[2] ** 2 + LEAST + seen.own)
    weighted = design * weight[:, None]
    inner = np.linalg.inv(np.diag(1 / prior) + design.T @ weighted)
    one, y = weighted.sum(axis=0), weighted.T @ seen.delta
    solved = inner @ one
    information = weight.sum() - one @ solved
    mean = float((weight @ seen.delta - solved @ y) / information)
    rest = seen.delta - mean
    moved = weighted.T @ rest
    effects = inner @ moved
    log_det = np.log(prior).sum() - np.log(weight).sum() - np.linalg.slogdet(inner)[1] + np.log(information)
    return _Fit(sds, float(log_det + weight @ rest**2 - moved @ effects), mean, effects, inner)


def _chain(seen: Measured, design: Floats, rng: np.random.Generator) -> list[_Fit]:
    """Draws of the four standard deviations, by a random walk in one after the other."""
    now = _fit(seen, design, np.full(4, 0.3 * max(float(seen.delta.std()), LEAST)))
    kept, width = [], _widths(seen)
    for turn in range(WARM_UP + DRAWS * EVERY):
        step = STEPS[turn // 4 % len(STEPS)] * width * (np.arange(4) == turn % 4)
        proposed = _fit(seen, design, np.abs(now.sds + step * rng.normal()))
        prior = _log_prior(proposed.sds / width) - _log_prior(now.sds / width)
        taken = np.log(rng.random()) < (now.criterion - proposed.criterion) / 2 + prior
        now = proposed if taken else now
        if turn >= WARM_UP and (turn - WARM_UP) % EVERY == EVERY - 1:
            kept.append(now)
    return kept


def _log_prior(sds: Floats) -> float:
    """Of standard deviations in errors of a level: half-normal next to 0, or half-Cauchy."""
    near = np.exp(-((sds / NEAR) ** 2) / 2) / NEAR * np.sqrt(2 / np.pi)
    far = 2 / np.pi / (1 + sds**2)
    return float(np.log(ABSENT * near + (1 - ABSENT) * far).sum())


def _widths(seen: Measured) -> Floats:
    """Errors with which one level is measured: source, target, pair, regime."""
    own, shared, seeds = (float(x.mean()) for x in (seen.own, seen.shared, seen.seeds))
    n = len(seen.delta)
    s, t, g = (len(np.unique(code)) for code in (seen.source, seen.target, seen.group))
    return np.sqrt([seeds + own * s / n, shared + own * t / n, own, seeds / s + shared / t + own * g / n])


def _posterior(seen: Measured, design: Floats, fit: _Fit) -> tuple[Floats, Floats]:
    """Mean and variance of every true Δ."""
    signal = design * _prior(seen, fit.sds)[1]
    _, pair, own = _pair(seen, design, fit)
    left = signal - (own / seen.own)[:, None] * design
    doubt = ((left @ fit.covariance) * left).sum(axis=1)
    return fit.mean + signal @ fit.effects + pair, doubt + own


def _pair(seen: Measured, design: Floats, fit: _Fit) -> tuple[Floats, Floats, Floats]:
    """What is left of every Δ for its pair and its own error, and the pair's posterior mean and variance."""
    variance = fit.sds[2] ** 2 + LEAST
    share = variance / (variance + seen.own)
    rest = seen.delta - fit.mean - design @ fit.effects
    return rest, share * rest, share * seen.own
