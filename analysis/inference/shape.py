"""Effects need not be normal: most sources may do nothing for a target and a few much. Their shape is learned, too.

The distribution of effects that were measured with known errors is the one under which they are most likely, whatever
its shape (Kiefer and Wolfowitz 1956, Ann. Math. Stat. 27): masses on a grid of values, by the EM algorithm (Laird 1978,
J. Am. Stat. Assoc. 73). Few cells say little of a shape, so `NORMAL` cells more are taken to be drawn as a normal
prior says, where EM also starts: a Dirichlet prior around it. Each mass is a normal as wide as a step of the grid, so
that effects which are well known are not rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.inference.items import Floats

POINTS = 80  # of the grid, nearly
REACH = 4.0  # standard deviations of the normal prior that it holds at least
STEPS = 100  # of EM; 300 give the same
NORMAL = 10.0  # cells


@dataclass(frozen=True)
class Shaped:
    """The posterior of n effects: normals, one for each of G masses."""

    chance: Floats  # n × G
    at: Floats  # n × G: their means
    variance: Floats  # n: of each

    def moments(self) -> tuple[Floats, Floats]:
        """Means and variances."""
        mean = (self.chance * self.at).sum(axis=1)
        spread = (self.chance * (self.at - mean[:, None]) ** 2).sum(axis=1)
        return mean, spread + self.variance


def shaped(seen: Floats, error: Floats, sds: Floats, kept: Floats) -> Shaped:
    """The posterior of n effects seen with errors of these variances.

    `sds` are draws of the normal prior's standard deviation. What is seen is left of effect and error once levels of
    sources and targets were fitted, and these took part of it with them: it varies by the share `kept` of what effect
    and error do together. Masses are those of values that vary in full, else effects would come out too small.
    """
    whole = seen / np.sqrt(kept)
    reach = REACH * np.sqrt((sds**2).mean()) + 1e-6
    low, high = min(float(whole.min()), -reach), max(float(whole.max()), reach)
    step = (high - low) / POINTS
    grid = step * np.arange(np.floor(low / step), np.ceil(high / step) + 1)  # 0 is one of them
    width = step**2
    normal = np.exp(-(grid**2) / 2 / np.maximum(sds[:, None] ** 2 - width, width / 16))
    start = (normal / normal.sum(axis=1, keepdims=True)).mean(axis=0)
    mass, likely = start, _likely(whole, grid, error + width)
    for _ in range(STEPS):
        mass = (mass * (likely / (likely @ mass)[:, None]).sum(axis=0) + NORMAL * start) / (len(seen) + NORMAL)
    chance = mass * _likely(seen, grid, error + width)
    chance /= chance.sum(axis=1, keepdims=True)
    moved = (width / (width + error))[:, None]
    return Shaped(chance, grid + moved * (seen[:, None] - grid), moved[:, 0] * error)


def _likely(seen: Floats, grid: Floats, variance: Floats) -> Floats:
    """Likelihood of what is seen at every point of the grid, the greatest of each row 1."""
    apart = (seen[:, None] - grid) ** 2 / 2 / variance[:, None]
    return np.asarray(np.exp(apart.min(axis=1, keepdims=True) - apart))
