"""How much of the spread of Δ is the model's, the source's, the target's and their interactions', without its noise.

Crossed random effects by moments. Take two cells at a time, one measured on one half of the items, the other on the
other: the mean product over pairs that agree in exactly the factors F is μ² plus the components of all subsets of F,
whatever cells are missing (Henderson's method 1 in pairs). Differences of such means are the components. Item noise
has no part in them, for no pair shares an item; seed noise has none, for pairs of one source are pairs of two seeds
(with one seed it cannot be told from the source's own effects: those are the adapter's then). They are unbiased, so
where there is nothing they lie below 0 as often as above.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from analysis.inference.items import Floats, Singles

FACTORS = ("model", "source", "target")
AXES = {"model": 1, "source": 2, "target": 4}  # of B × M × S × K × T
ADAPTER = 3
Classes = dict[frozenset[str], float]


@dataclass(frozen=True)
class Doubles:
    """Every adapter's Δ from either half of the items: B × M × S × K × T, NaN where there is none."""

    one: Singles
    two: Singles
    seeds: bool  # whether some source has two seeds

    def only(self, rows: npt.NDArray[np.bool_]) -> Doubles:
        """Without the cells that `rows`, broadcast to B × M × S × K × T, leaves out."""
        return Doubles(np.where(rows, self.one, np.nan), np.where(rows, self.two, np.nan), self.seeds)

    def first(self, splits: int) -> Doubles:
        """With fewer splits."""
        return Doubles(self.one[:splits], self.two[:splits], self.seeds)

    def without(self, factor: str, level: int) -> Doubles:
        """Without one model, source or target."""
        one, two = (np.delete(values, level, axis=AXES[factor]) for values in (self.one, self.two))
        return Doubles(one, two, self.seeds)


def varying(data: Doubles) -> tuple[str, ...]:
    """The factors that have two levels or more."""
    there = ~np.isnan(data.one[0])
    return tuple(
        name for name in FACTORS if there.any(axis=tuple(i - 1 for i in (1, 2, 3, 4) if i != AXES[name])).sum() > 1
    )


def _subsets(names: Iterable[str]) -> list[frozenset[str]]:
    names = list(names)
    return [frozenset(c) for size in range(len(names) + 1) for c in combinations(names, size)]


def mean_products(data: Doubles) -> Classes:
    """Mean product of two cells that agree in exactly these of the varying factors; NaN where there is no pair."""
    there = ~(np.isnan(data.one[:1]) | np.isnan(data.two[:1]))
    one, two = (np.where(there, values, 0.0).astype(np.float64) for values in (data.one, data.two))
    count = there.astype(np.float64)
    names = varying(data)
    always = frozenset(FACTORS) - set(names)
    found = {}
    for exactly in _subsets(names):
        total, n = 0.0, 0.0
        for more in [more for more in _subsets(names) if more >= exactly]:
            sign, same = (-1) ** len(more - exactly), more | always
            apart = data.seeds and exactly | always >= {"model", "source"}
            total += sign * _products(one, two, same, apart)
            n += sign * _products(count, count, same, apart)
        found[exactly] = total / len(one) / n if n > 0.5 else float("nan")
    return found


def _products(one: Floats, two: Floats, same: frozenset[str], apart: bool) -> float:
    """Σ of products over pairs of cells that agree at least in `same`; with `apart` not those of one adapter."""
    kept = {AXES[name] for name in same}
    total = _squares(one, two, kept)
    return total - _squares(one, two, kept | {ADAPTER}) if apart else total


def _squares(one: Floats, two: Floats, kept: set[int]) -> float:
    rest = tuple(axis for axis in (1, 2, 3, 4) if axis not in kept)
    return float((one.sum(axis=rest) * two.sum(axis=rest)).sum())


def components(data: Doubles) -> Classes:
    """Variance component of every set of factors, in squared units of Δ; unbiased, so it may be below 0."""
    products = mean_products(data)
    return {
        name: sum((-1) ** len(name - part) * value for part, value in products.items() if part <= name)
        for name in products
        if name
    }


@dataclass(frozen=True)
class Shares:
    """Components and what measuring adds, with standard errors over levels of the factors."""

    variance: Classes
    share: Classes  # % of `total`
    share_se: Classes
    measurement: float  # what items and seeds add to the variance of the printed Δ
    total: float  # variance of the printed Δ over all cells


def shares(data: Doubles, printed: Floats, splits: int = 4) -> Shares:
    """Shares of the variance of the printed Δ (M × S × T). Standard errors by leaving out a level at a time."""
    found = components(data)
    total = float(np.nanvar(printed, ddof=1))
    share = {name: 100 * value / total for name, value in found.items()}
    few, error = data.first(splits), dict.fromkeys(found, 0.0)
    for factor in varying(data):
        n = data.one.shape[AXES[factor]]
        left = []
        for level in range(n):
            part, kept = few.without(factor, level), np.delete(printed, level, axis=FACTORS.index(factor))
            of, whole = components(part), float(np.nanvar(kept, ddof=1))
            left.append([100 * of.get(name, np.nan) / whole for name in found])
        spread = (n - 1) * np.nanvar(np.array(left), axis=0)
        for name, value in zip(found, spread, strict=True):
            error[name] += float(value)
    errors = {name: float(np.sqrt(value)) for name, value in error.items()}
    return Shares(found, share, errors, total - sum(found.values()), total)
