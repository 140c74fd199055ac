"""How likely a Δ is a harm, where many a source may do nothing at all.

A posterior that knows no nothing spreads what it is in doubt of on either side of 0, and calls a third of all cells
harmed where none is. Here each cell's effect is either none (no further from 0 than half a harm, normal) or drawn as
the posterior's prior says; how often it is none is learned from all cells, where `NONE` of either kind stand beside
them. The odds of none are the posterior's density there over its prior's (Dickey 1971, Ann. Math. Stat. 42).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.inference.items import Floats
from analysis.inference.shape import Shaped

NONE = 3.0  # cells of either kind, before any is seen
STEPS = 200


@dataclass(frozen=True)
class Level:
    """Of n cells, at given standard deviations of the effects: what is known but for the pair, and prior to all."""

    mean: Floats  # n
    variance: Floats  # n
    prior: float  # mean square of a Δ


def harmed(harm: Floats, levels: Sequence[Level], pair: Shaped) -> Floats:
    """Chance of each of n cells that its Δ is no higher than `harm`, averaged over the levels' draws."""
    from scipy.special import ndtr

    below, at, before = (np.zeros(len(harm)) for _ in range(3))
    none = (harm / 2) ** 2
    for one in levels:
        middle, variance = one.mean[:, None] + pair.at, one.variance + pair.variance
        below += (pair.chance * ndtr((harm[:, None] - middle) / np.sqrt(variance)[:, None])).sum(axis=1)
        at += (pair.chance * _density(middle, (variance + none)[:, None])).sum(axis=1)
        before += _density(np.zeros(len(harm)), one.prior + none)
    return (1 - _nothing(at / before)) * below / len(levels)


def _nothing(odds: Floats) -> Floats:
    """Chance of each cell to be none, by EM."""
    share = 0.5
    for _ in range(STEPS):
        chance = share * odds / (share * odds + 1 - share)
        share = (float(chance.sum()) + NONE) / (len(chance) + 2 * NONE)
    return np.asarray(share * odds / (share * odds + 1 - share))


def _density(at: Floats, variance: Floats) -> Floats:
    """Of a normal around 0, but for a factor."""
    return np.asarray(np.exp(-(at**2) / 2 / variance) / np.sqrt(variance))
