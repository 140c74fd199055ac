"""Effects of sources, targets and regimes on Δ, at given standard deviations: a mixed model, Henderson's equations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.inference.items import Floats, Ints
from analysis.inference.noise import LEAST


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
    df: Floats  # n: of the source's `seeds` beside those of all, `df_all` of all
    df_all: Floats  # n
    items: Floats  # n: what items added to the estimate of `seeds`, in parts of it


@dataclass(frozen=True)
class Design:
    """n × Q: source, its seeds' error, target, its base's error, regime."""

    matrix: Floats
    kind: Ints  # Q: which of these five a column is of
    true: npt.NDArray[np.bool_]  # Q: whether it is part of the true Δ

    def prior(self, sds: Floats, scales: Scales) -> Floats:
        """Variance of every effect."""
        source, target, _, regime = sds * sds + LEAST
        return np.asarray(np.array([source, 1.0, target, 1.0, regime])[self.kind] * scales.times + scales.more)


@dataclass(frozen=True)
class Scales:
    """Of every effect: by what its variance is multiplied, and what is added where it stands alone."""

    times: Floats  # Q
    more: Floats  # Q

    @classmethod
    def even(cls, design: Design) -> Scales:
        return cls(np.ones(len(design.kind)), np.zeros(len(design.kind)))


@dataclass(frozen=True)
class Fit:
    """The grid at given standard deviations of the effects."""

    sds: Floats
    mean: float
    effects: Floats
    covariance: Floats  # of the effects, given the data
    by_mean: Floats  # Q: by how much less each effect is where the mean is one more
    known: float  # precision with which the mean is known


@dataclass(frozen=True)
class Weighed:
    """What the weights of cells make of the design and of y = (1, Δ): all that likelihoods need of n cells."""

    gram: Floats  # Q × Q
    sides: Floats  # Q × 2: the design by y
    squares: Floats  # 2 × 2: y by y
    log_weights: float


def design_of(seen: Measured) -> Design:
    columns = (
        (seen.source, np.ones(len(seen.delta))),
        (seen.source, np.sqrt(seen.seeds)),
        (seen.target, np.ones(len(seen.delta))),
        (seen.target, np.sqrt(seen.shared)),
        (seen.group, np.full(len(seen.delta), float(np.ptp(seen.group) > 0))),  # the one there is, is the mean
    )
    levels = [int(code.max()) + 1 for code, _ in columns]
    matrix = np.hstack([np.eye(n)[code] * size[:, None] for n, (code, size) in zip(levels, columns, strict=True)])
    return Design(matrix, np.repeat(np.arange(5), levels), np.repeat([True, False, True, False, True], levels))


def fit(seen: Measured, design: Design, sds: Floats, scales: Scales | None = None) -> Fit:
    """By Henderson's equations: everything is Q × Q."""
    weighed = weighed_by(seen, design, sds)
    prior = design.prior(sds, scales or Scales.even(design))
    inner = np.asarray(np.linalg.inv(np.diag(1 / prior) + weighed.gram), np.float64)
    one, moved = weighed.sides.T
    solved = inner @ one
    (ones, sums), _ = weighed.squares
    mean = float((sums - solved @ moved) / (ones - one @ solved))
    return Fit(sds, mean, inner @ (moved - mean * one), inner, solved, float(ones - one @ solved))


def weighed_by(seen: Measured, design: Design, sds: Floats) -> Weighed:
    weight = 1 / (sds[2] ** 2 + LEAST + seen.own)
    y = np.stack([np.ones(len(weight)), seen.delta], axis=1)
    weighted = weight[:, None] * y
    gram = design.matrix.T @ (design.matrix * weight[:, None])
    return Weighed(gram, design.matrix.T @ weighted, y.T @ weighted, float(np.log(weight).sum()))
