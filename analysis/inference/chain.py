"""Effects of sources, targets, pairs and regimes on Δ: how large they are, in draws from what a grid leaves open.

Metropolis draws of the four standard deviations, effects integrated out, and Gibbs draws of the effects for what else
is not known. Effects of a kind may be absent, which a smooth prior all but rules out: so a part of the prior lies next
to 0 (`ABSENT`), the rest is half-Cauchy (Gelman 2006) and as wide as the error with which one level is measured (spike
and slab: George and McCulloch 1993, J. Am. Stat. Assoc. 88).

Two things would make luck look like effects, and are drawn, too. The variances between seeds are known by few degrees
of freedom: what all sources' estimate is off by, and what each one's is beside it (scaled inverse chi-squares, as
moderated variances have: Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3(1)). And one source or target may be far from all
others: with a small chance each has a variance of its own, as large as it is far from their median.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtrs

from analysis.inference.effects import Design, Measured, Scales, Weighed, weighed_by
from analysis.inference.items import Floats, Ints
from analysis.inference.noise import LEAST

WARM_UP, DRAWS, EVERY = 40, 30, 3  # rounds through all that is drawn
ABSENT = (0.8, 0.5, 0.5, 0.5)  # chance that effects are absent: of sources, targets, pairs, regimes
NEAR = 0.1  # how far from 0 that is, in errors of a level
STEPS = (1.0, 0.2)  # of the random walk in one standard deviation, in errors of a level, in turn
APART = 0.05  # chance that any of the sources, or of the targets, stands alone
QUANTILES = 40  # of what a variance between seeds may be


@dataclass(frozen=True)
class _Step:
    """A stand of the random walk, and the logarithm of how likely it is: restricted likelihood by prior."""

    sds: Floats
    weighed: Weighed
    likely: float
    factor: Floats  # lower Cholesky factor of the effects' precision
    white: Floats  # Q × 2
    left: Floats  # 2 × 2


def drawn(seen: Measured, design: Design, rng: np.random.Generator) -> Iterator[tuple[Floats, Scales]]:
    """Draws of the four standard deviations, and of what scales the variances of single effects."""
    width, unsure = _widths(seen), _Unsure.of(seen, design)
    start, scales = np.full(4, 0.3 * max(float(seen.delta.std()), LEAST)), Scales.even(design)
    now = _step(design, weighed_by(seen, design, start), start, width, scales)
    for turn in range(WARM_UP + DRAWS * EVERY):
        for one in range(4):
            sds = np.abs(now.sds + STEPS[turn % len(STEPS)] * width * (np.arange(4) == one) * rng.normal())
            weighed = weighed_by(seen, design, sds) if one == 2 else now.weighed  # by pairs' alone
            proposed = _step(design, weighed, sds, width, scales)
            now = proposed if np.log(rng.random()) < proposed.likely - now.likely else now
        unsure = unsure.drawn(now.sds, _effects(now, rng), rng)
        scales = unsure.scales
        now = _step(design, now.weighed, now.sds, width, scales)
        if turn >= WARM_UP and (turn - WARM_UP) % EVERY == EVERY - 1:
            yield now.sds, scales


@dataclass(frozen=True)
class _Unsure:
    """What scales the effects, and what it may be."""

    design: Design
    far: dict[int, Floats]  # of sources (0) and targets (2): the square of how far each is from the median
    all: Floats  # quantiles of what the estimate of all sources' seeds is off by
    each: Floats  # S × quantiles: and of each beside it
    items: Floats  # S
    off: tuple[float, Floats]  # what they were last
    scales: Scales

    @classmethod
    def of(cls, seen: Measured, design: Design) -> _Unsure:
        _, first = np.unique(seen.source, return_index=True)
        levels = int(seen.source.max()) + 1
        df, df_all, items = np.full(levels, np.inf), np.inf, np.zeros(levels)
        df[seen.source[first]], items[seen.source[first]] = seen.df[first], seen.items[first]
        df_all = float(seen.df_all.min())
        far = {kind: _far(level, seen.delta) for kind, level in ((0, seen.source), (2, seen.target))}
        scales = Scales.even(design)
        return cls(design, far, _inflated(np.array([df_all]))[0], _inflated(df), items, (1.0, np.ones(levels)), scales)

    def drawn(self, sds: Floats, effects: Floats, rng: np.random.Generator) -> _Unsure:
        """Given the effects: seeds' variances, then which levels stand alone."""
        times, more, kind = self.scales.times.copy(), self.scales.more.copy(), self.design.kind
        errors = effects[kind == 1]
        each = _picked(self.each, self._likely(self.each * self.off[0], errors), rng)
        likely = self._likely(self.all * each[:, None], errors).sum(axis=0, keepdims=True)
        of_all = float(_picked(self.all[None], likely, rng)[0])
        times[kind == 1] = self._variance((each * of_all)[:, None])[:, 0]
        for which, sd in ((0, sds[0]), (2, sds[2])):
            mine, near = effects[kind == which], sd**2 + LEAST
            wide = near + self.far[which]
            odds = math.log(APART / len(mine)) + (np.log(near / wide) + mine**2 * (1 / near - 1 / wide)) / 2
            alone = np.log(rng.random(len(mine))) < -np.logaddexp(0.0, -odds)
            more[kind == which] = np.where(alone, self.far[which], 0.0)
        return replace(self, off=(of_all, each), scales=Scales(times, more))

    def _variance(self, off: Floats) -> Floats:
        """In parts of its estimate: what items added to that is known."""
        return np.maximum((1 + self.items)[:, None] * off - self.items[:, None], 1e-3)

    def _likely(self, off: Floats, errors: Floats) -> Floats:
        variance = self._variance(off)
        return np.asarray(-(np.log(variance) + errors[:, None] ** 2 / variance) / 2)


def _inflated(df: Floats) -> Floats:
    """Quantiles of a variance of so many degrees of freedom over its estimate: L × quantiles."""
    from scipy.stats import chi2

    at = (np.arange(QUANTILES) + 0.5) / QUANTILES
    few = np.where(np.isfinite(df), df, 1.0)[:, None]
    return np.where(np.isfinite(df)[:, None], few / chi2.ppf(at, few), 1.0)


def _picked(values: Floats, likely: Floats, rng: np.random.Generator) -> Floats:
    """Of each row of values one, as likely as their logarithms say."""
    whole = np.exp(likely - likely.max(axis=1, keepdims=True)).cumsum(axis=1)
    at = (whole < rng.random(len(values))[:, None] * whole[:, -1:]).sum(axis=1)
    return np.asarray(values[np.arange(len(values)), at])


def _far(level: Ints, values: Floats) -> Floats:
    count = np.bincount(level)
    mean = np.bincount(level, values) / np.maximum(count, 1)
    return np.asarray(np.maximum((mean - np.median(mean[count > 0])) ** 2, LEAST))


def _effects(now: _Step, rng: np.random.Generator) -> Floats:
    """A draw of all effects, and of the mean with them, at these standard deviations."""
    mean = (now.left[0, 1] + rng.normal() * math.sqrt(now.left[0, 0])) / now.left[0, 0]
    right = now.white[:, 1] - mean * now.white[:, 0] + rng.normal(size=len(now.white))
    return np.asarray(dtrtrs(now.factor, right, lower=1, trans=1)[0])


def _step(design: Design, weighed: Weighed, sds: Floats, width: Floats, scales: Scales) -> _Step:
    """By one Cholesky factor, without the covariance: hundreds are asked for, few are kept."""
    prior = design.prior(sds, scales)
    precision = weighed.gram.copy()
    precision.ravel()[:: len(prior) + 1] += 1 / prior
    factor, _ = dpotrf(precision, lower=1)
    white, _ = dtrtrs(factor, weighed.sides, lower=1)
    left = weighed.squares - white.T @ white
    rest = left[1, 1] - left[0, 1] ** 2 / left[0, 0]
    log_det = np.log(prior).sum() - weighed.log_weights + 2 * np.log(factor.diagonal()).sum() + np.log(left[0, 0])
    return _Step(sds, weighed, _log_prior(sds / width) - float(log_det + rest) / 2, factor, white, left)


def _log_prior(sds: Floats) -> float:
    """Of standard deviations in errors of a level: half-normal next to 0, or half-Cauchy."""
    near = [math.exp(-((sd / NEAR) ** 2) / 2) / NEAR * math.sqrt(2 / math.pi) for sd in sds.tolist()]
    far = [2 / math.pi / (1 + sd**2) for sd in sds.tolist()]
    return sum(math.log(a * n + (1 - a) * f) for a, n, f in zip(ABSENT, near, far, strict=True))


def _widths(seen: Measured) -> Floats:
    """Errors with which one level is measured: source, target, pair, regime."""
    own, shared, seeds = (float(x.mean()) for x in (seen.own, seen.shared, seen.seeds))
    n = len(seen.delta)
    s, t, g = (len(np.unique(code)) for code in (seen.source, seen.target, seen.group))
    return np.sqrt([seeds + own * s / n, shared + own * t / n, own, seeds / s + shared / t + own * g / n])
