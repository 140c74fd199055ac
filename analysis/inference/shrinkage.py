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
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dtrtrs

from analysis.inference.alone import alone
from analysis.inference.harmed import Level, harmed
from analysis.inference.items import Floats, Ints
from analysis.inference.noise import LEAST, Noise
from analysis.inference.shape import shaped

SEED = 20251113
HARM = -1.0  # points
WARM_UP, DRAWS, EVERY = 120, 25, 12
ABSENT, NEAR = 0.5, 0.1  # chance that effects of a kind are absent, and how far from 0 that is, in errors of a level
STEPS = (1.0, 0.2)  # of the random walk in one standard deviation, in errors of a level, in turn


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
    harmed: Floats  # chance that Δ is a harm: no tail of a normal, for many effects may be none (`harmed`)


def expected(seen: Measured, harm: Floats | float = HARM, seed: int = SEED) -> Expected:
    """Posterior of every cell's Δ, averaged over what the effects' variances may be; `harm` is a Δ, of all or each."""
    each = np.broadcast_to(np.asarray(harm, np.float64), seen.delta.shape)
    sizes, places = (seen.delta, seen.own, seen.shared, seen.seeds, each), (seen.source, seen.target, seen.group)
    return _expected(np.stack(sizes).tobytes(), np.stack(places).tobytes(), seed)


@lru_cache(maxsize=8)
def _expected(sizes: bytes, places: bytes, seed: int) -> Expected:
    """One grid is asked about many times, and drawing takes half a second."""
    delta, own, shared, seeds, harm = np.frombuffer(sizes, np.float64).reshape(5, -1)
    source, target, group = np.frombuffer(places, np.int64).reshape(3, -1)
    seen = Measured(delta, source, target, group, own, shared, seeds)
    design = _design(seen)
    kept = [_fit(seen, design, *one) for one in _chain(seen, design, np.random.default_rng(seed))]
    means, variances = zip(*(_posterior(seen, design, fit) for fit in kept), strict=True)
    sds = np.array([fit.sds for fit in kept])
    pairs = [_pair(seen, design, fit) for fit in kept]
    rest, pair, doubt = np.mean(pairs, axis=0)
    fitted = np.mean([((design.matrix @ fit.covariance) * design.matrix).sum(axis=1) for fit in kept], axis=0)
    whole = (sds[:, 2] ** 2).mean() + LEAST + seen.own
    shape = shaped(rest, seen.own, sds[:, 2], 1 - fitted / whole)
    shaped_pair, shaped_doubt = shape.moments()
    variance = np.mean(variances, axis=0) + np.var(means, axis=0) + shaped_doubt - doubt
    mean = np.mean(means, axis=0) + shaped_pair - pair
    levels = [
        Level(m - p, np.maximum(v - d, LEAST), fit.mean**2 + 1 / fit.known + float((fit.sds**2).sum()))
        for fit, m, v, (_, p, d) in zip(kept, means, variances, pairs, strict=True)
    ]
    found = (mean, np.sqrt(np.maximum(variance, LEAST)), sds.mean(axis=0), harmed(harm, levels, shape))
    for values in found:
        values.setflags(write=False)  # they are whose asks again, too
    return Expected(*found)


@dataclass(frozen=True)
class _Fit:
    """The grid at given standard deviations of the effects."""

    sds: Floats
    mean: float
    effects: Floats
    covariance: Floats  # of the effects, given the data
    by_mean: Floats  # Q: by how much less each effect is where the mean is one more
    known: float  # precision with which the mean is known


@dataclass(frozen=True)
class _Weighed:
    """What the weights of cells make of the design and of y = (1, Δ): all that likelihoods need of n cells."""

    gram: Floats  # Q × Q
    sides: Floats  # Q × 2: the design by y
    squares: Floats  # 2 × 2: y by y
    log_weights: float


@dataclass(frozen=True)
class _Step:
    """A stand of the random walk, and the logarithm of how likely it is: restricted likelihood by prior."""

    sds: Floats
    weighed: _Weighed
    likely: float


@dataclass(frozen=True)
class _Design:
    """n × Q: source, its seeds' error, target, its base's error, regime."""

    matrix: Floats
    kind: Ints  # Q: which of these five a column is of
    true: npt.NDArray[np.bool_]  # Q: whether it is part of the true Δ

    def prior(self, sds: Floats, more: Floats | float = 0.0) -> Floats:
        """Variance of every effect; `more` is what one that stands alone has beyond others."""
        source, target, _, regime = sds * sds + LEAST
        return np.asarray(np.array([source, 1.0, target, 1.0, regime])[self.kind] + more)


def _design(seen: Measured) -> _Design:
    columns = (
        (seen.source, np.ones(len(seen.delta))),
        (seen.source, np.sqrt(seen.seeds)),
        (seen.target, np.ones(len(seen.delta))),
        (seen.target, np.sqrt(seen.shared)),
        (seen.group, np.ones(len(seen.delta))),
    )
    levels = [int(code.max()) + 1 for code, _ in columns]
    matrix = np.hstack([np.eye(n)[code] * size[:, None] for n, (code, size) in zip(levels, columns, strict=True)])
    return _Design(matrix, np.repeat(np.arange(5), levels), np.repeat([True, False, True, False, True], levels))


def _fit(seen: Measured, design: _Design, sds: Floats, more: Floats | float = 0.0) -> _Fit:
    """By Henderson's equations: everything is Q × Q."""
    weighed = _weighed(seen, design, sds)
    inner = np.asarray(np.linalg.inv(np.diag(1 / design.prior(sds, more)) + weighed.gram), np.float64)
    one, moved = weighed.sides.T
    solved = inner @ one
    (ones, sums), _ = weighed.squares
    mean = float((sums - solved @ moved) / (ones - one @ solved))
    return _Fit(sds, mean, inner @ (moved - mean * one), inner, solved, float(ones - one @ solved))


def _weighed(seen: Measured, design: _Design, sds: Floats) -> _Weighed:
    weight = 1 / (sds[2] ** 2 + LEAST + seen.own)
    y = np.stack([np.ones(len(weight)), seen.delta], axis=1)
    weighted = weight[:, None] * y
    gram = design.matrix.T @ (design.matrix * weight[:, None])
    return _Weighed(gram, design.matrix.T @ weighted, y.T @ weighted, float(np.log(weight).sum()))


def _step(design: _Design, weighed: _Weighed, sds: Floats, width: Floats, more: Floats) -> _Step:
    """By one Cholesky factor, without the covariance: hundreds are asked for, few are kept."""
    prior = design.prior(sds, more)
    precision = weighed.gram.copy()
    precision.ravel()[:: len(prior) + 1] += 1 / prior
    factor, _ = dpotrf(precision, lower=1)
    white, _ = dtrtrs(factor, weighed.sides, lower=1)
    left = weighed.squares - white.T @ white
    rest = left[1, 1] - left[0, 1] ** 2 / left[0, 0]
    log_det = np.log(prior).sum() - weighed.log_weights + 2 * np.log(factor.diagonal()).sum() + np.log(left[0, 0])
    return _Step(sds, weighed, _log_prior(sds / width) - float(log_det + rest) / 2)


def _chain(seen: Measured, design: _Design, rng: np.random.Generator) -> list[tuple[Floats, Floats]]:
    """Draws of the four standard deviations, by a random walk in one after the other; and what levels that stand alone
    have beyond these."""
    start = np.full(4, 0.3 * max(float(seen.delta.std()), LEAST))
    kept, width, more = [], _widths(seen), _alone(seen, design)
    now = _step(design, _weighed(seen, design, start), start, width, more)
    for turn in range(WARM_UP + DRAWS * EVERY):
        step = STEPS[turn // 4 % len(STEPS)] * width * (np.arange(4) == turn % 4)
        sds = np.abs(now.sds + step * rng.normal())
        weighed = _weighed(seen, design, sds) if turn % 4 == 2 else now.weighed  # by pairs' alone
        proposed = _step(design, weighed, sds, width, more)
        now = proposed if np.log(rng.random()) < proposed.likely - now.likely else now
        if turn >= WARM_UP and (turn - WARM_UP) % EVERY == EVERY - 1:
            kept.append((now.sds, more))
    return kept


def _alone(seen: Measured, design: _Design) -> Floats:
    """Of every source and target that stands alone, what its effect may be beyond the others'; else 0."""
    found = np.zeros(len(design.kind))
    for kind, level, errors in ((0, seen.source, seen.seeds), (2, seen.target, seen.shared)):
        found[design.kind == kind] = alone(level, seen.delta, errors)
    return found


def _log_prior(sds: Floats) -> float:
    """Of standard deviations in errors of a level: half-normal next to 0, or half-Cauchy."""
    near = [math.exp(-((sd / NEAR) ** 2) / 2) / NEAR * math.sqrt(2 / math.pi) for sd in sds.tolist()]
    far = [2 / math.pi / (1 + sd**2) for sd in sds.tolist()]
    return sum(math.log(ABSENT * n + (1 - ABSENT) * f) for n, f in zip(near, far, strict=True))


def _widths(seen: Measured) -> Floats:
    """Errors with which one level is measured: source, target, pair, regime."""
    own, shared, seeds = (float(x.mean()) for x in (seen.own, seen.shared, seen.seeds))
    n = len(seen.delta)
    s, t, g = (len(np.unique(code)) for code in (seen.source, seen.target, seen.group))
    return np.sqrt([seeds + own * s / n, shared + own * t / n, own, seeds / s + shared / t + own * g / n])


def _posterior(seen: Measured, design: _Design, fit: _Fit) -> tuple[Floats, Floats]:
    """Mean and variance of every true Δ."""
    signal = design.matrix * design.true
    _, pair, own = _pair(seen, design, fit)
    left = signal - (own / seen.own)[:, None] * design.matrix
    doubt = ((left @ fit.covariance) * left).sum(axis=1)
    of_mean = (1 - own / seen.own - left @ fit.by_mean) ** 2 / fit.known  # what is in doubt of the mean of all
    return fit.mean + signal @ fit.effects + pair, doubt + own + of_mean


def _pair(seen: Measured, design: _Design, fit: _Fit) -> tuple[Floats, Floats, Floats]:
    """What is left of every Δ for its pair and its own error, and the pair's posterior mean and variance."""
    variance = fit.sds[2] ** 2 + LEAST
    share = variance / (variance + seen.own)
    rest = seen.delta - fit.mean - design.matrix @ fit.effects
    return rest, share * rest, share * seen.own
