"""What to expect of a source on a target once it has been picked for its high Δ.

The highest of many noisy numbers is high partly by luck. Expected values are therefore posterior means: Δ(s, t) = mean
+ regime + source + target + pair, the effects normal, measured with errors whose variances items and seeds tell: one
that a target's cells share (its base, its items), one that a source's cells share (its seeds), and each cell's own. How
large the effects are is learned from the same grid (empirical Bayes), and as a small grid leaves that open, posteriors
are averaged over what it may be (`chain`), from a seed. A posterior mean is unbiased whichever source it makes one
pick, as far as effects are drawn as the prior says; that it is so whatever the truth, no estimate can have
(`docs/calibration.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from analysis.inference.chain import drawn
from analysis.inference.effects import Design, Fit, Measured, design_of, fit
from analysis.inference.harmed import Level, harmed
from analysis.inference.items import Floats, Ints
from analysis.inference.noise import LEAST, Noise
from analysis.inference.shape import shaped

SEED = 20251113
HARM = -1.0  # points


def measured(delta: Floats, group: Ints, of: Noise) -> Measured:
    """The cells of S × T that have a Δ."""
    there = ~np.isnan(delta)
    source, target = np.nonzero(there)
    parts = (of.own, of.shared, of.seeds, of.df, of.df_all, of.items)
    return Measured(
        delta[there], source, target, group[there], *(np.broadcast_to(x, there.shape)[there] for x in parts)
    )


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
    sizes = (seen.delta, seen.own, seen.shared, seen.seeds, seen.df, seen.df_all, seen.items, each)
    places = (seen.source, seen.target, seen.group)
    return _expected(np.stack(sizes).tobytes(), np.stack(places).tobytes(), seed)


@lru_cache(maxsize=8)
def _expected(sizes: bytes, places: bytes, seed: int) -> Expected:
    """One grid is asked about many times, and drawing takes half a second."""
    delta, *errors, harm = np.frombuffer(sizes, np.float64).reshape(8, -1)
    source, target, group = np.frombuffer(places, np.int64).reshape(3, -1)
    seen = Measured(delta, source, target, group, *errors)
    design = design_of(seen)
    kept = [fit(seen, design, *one) for one in drawn(seen, design, np.random.default_rng(seed))]
    means, variances = zip(*(_posterior(seen, design, one) for one in kept), strict=True)
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
        Level(m - p, np.maximum(v - d, LEAST), fit.mean**2 + 1 / fit.known + float((fit.sds[:3] ** 2).sum()))
        for fit, m, v, (_, p, d) in zip(kept, means, variances, pairs, strict=True)
    ]
    found = (mean, np.sqrt(np.maximum(variance, LEAST)), sds.mean(axis=0), harmed(harm, levels, shape))
    for values in found:
        values.setflags(write=False)  # they are whose asks again, too
    return Expected(*found)


def _posterior(seen: Measured, design: Design, fit: Fit) -> tuple[Floats, Floats]:
    """Mean and variance of every true Δ."""
    signal = design.matrix * design.true
    _, pair, own = _pair(seen, design, fit)
    left = signal - (own / seen.own)[:, None] * design.matrix
    doubt = ((left @ fit.covariance) * left).sum(axis=1)
    of_mean = (1 - own / seen.own - left @ fit.by_mean) ** 2 / fit.known  # what is in doubt of the mean of all
    return fit.mean + signal @ fit.effects + pair, doubt + own + of_mean


def _pair(seen: Measured, design: Design, fit: Fit) -> tuple[Floats, Floats, Floats]:
    """What is left of every Δ for its pair and its own error, and the pair's posterior mean and variance."""
    variance = fit.sds[2] ** 2 + LEAST
    share = variance / (variance + seen.own)
    rest = seen.delta - fit.mean - design.matrix @ fit.effects
    return rest, share * rest, share * seen.own
