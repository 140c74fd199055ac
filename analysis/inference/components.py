"""How much of the spread of Δ is the model's, the source's, the target's and their interactions', without its noise.

Crossed random effects by moments. Take two cells at a time, one measured on one half of the items, the other on the
other: the mean product over pairs that agree in exactly the factors F is μ² plus the components of all subsets of F,
whatever cells are missing (Henderson's method 1 in pairs). Differences of such means are the components. Item noise
has no part in them, for no pair shares an item; seed noise has none, for pairs of one source are pairs of two seeds
(with one seed it cannot be told from the source's own effects: those are the adapter's then). They are unbiased, so
where there is nothing they lie below 0 as often as above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from analysis.inference.items import Floats, Singles

FACTORS = ("model", "source", "target")
AXES = {"model": 1, "source": 2, "target": 4}  # of B × M × S × K × T
ADAPTER = 3
Classes = dict[frozenset[str], float]
Value = TypeVar("Value", float, Floats)


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
    return {name: float(value) for name, value in _means(data, _squares).items()}


def _means(data: Doubles, squares: Callable[[Floats, Floats, frozenset[int]], Floats]) -> dict[frozenset[str], Floats]:
    """`mean_products` from sums over the cells that agree in these axes, of which there may be several at a time."""
    there = ~(np.isnan(data.one[:1]) | np.isnan(data.two[:1]))
    one, two = (np.where(there, values, 0.0).astype(np.float64) for values in (data.one, data.two))
    count = there.astype(np.float64)
    of_values, of_counts = cache(partial(squares, one, two)), cache(partial(squares, count, count))
    names = varying(data)
    always = frozenset(FACTORS) - set(names)
    found = {}
    for exactly in _subsets(names):
        total, n = np.zeros(()), np.zeros(())
        for more in [more for more in _subsets(names) if more >= exactly]:
            kept, sign = frozenset(AXES[name] for name in more | always), (-1) ** len(more - exactly)
            apart = [kept | {ADAPTER}] if data.seeds and exactly | always >= {"model", "source"} else []
            total = total + sign * (of_values(kept) - sum(of_values(axes) for axes in apart))
            n = n + sign * (of_counts(kept) - sum(of_counts(axes) for axes in apart))
        with np.errstate(divide="ignore", invalid="ignore"):
            found[exactly] = np.where(n > 0.5, total / len(one) / n, np.nan)
    return found


def _squares(one: Floats, two: Floats, kept: frozenset[int]) -> Floats:
    """Σ of products over pairs of cells that agree in the kept axes."""
    rest = tuple(axis for axis in (1, 2, 3, 4) if axis not in kept)
    return np.asarray((one.sum(axis=rest) * two.sum(axis=rest)).sum())


def _squares_without(axis: int, one: Floats, two: Floats, kept: frozenset[int]) -> Floats:
    """The same without each level of an axis in turn."""
    rest = tuple(i for i in (1, 2, 3, 4) if i not in kept | {axis})
    others = tuple(i for i in range(5) if i != axis)
    a, b = (half.sum(axis=rest, keepdims=True) for half in (one, two))
    if axis in kept:
        product = a * b
        return np.asarray(product.sum() - product.sum(axis=others))
    left = [half.sum(axis=axis, keepdims=True) - half for half in (a, b)]
    return np.asarray((left[0] * left[1]).sum(axis=others))


def components(data: Doubles) -> Classes:
    """Variance component of every set of factors, in squared units of Δ; unbiased, so it may be below 0."""
    return _differences(mean_products(data))


def components_without(data: Doubles, factor: str) -> dict[frozenset[str], Floats]:
    """The same without each level of a factor in turn, all at once; a factor needs three levels."""
    found: dict[frozenset[str], Floats] = _differences(_means(data, partial(_squares_without, AXES[factor])))
    return found


def _differences(products: dict[frozenset[str], Value]) -> dict[frozenset[str], Value]:
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
        left = _shares_without(few, printed, factor)
        for name in found:
            known = left[name][~np.isnan(left[name])]
            is_told = len(known) and np.isfinite(known).all()  # not where nothing varies without a level
            error[name] += (len(left[name]) - 1) * float(known.var()) if is_told else np.nan
    errors = {name: float(np.sqrt(value)) for name, value in error.items()}
    return Shares(found, share, errors, total - sum(found.values()), total)


def _shares_without(data: Doubles, printed: Floats, factor: str) -> dict[frozenset[str], Floats]:
    """Shares without each level of a factor in turn, of those that have a cell."""
    axis = FACTORS.index(factor)
    others = tuple(i for i in range(3) if i != axis)
    levels = np.flatnonzero((~np.isnan(printed)).any(axis=others))
    rest = [np.delete(printed, level, axis=axis) for level in levels]
    whole = np.array([np.nanvar(one, ddof=1) if np.isfinite(one).sum() > 1 else np.nan for one in rest])
    if len(levels) > 2:
        parts = {name: values[levels] for name, values in components_without(data, factor).items()}
    else:  # without one of two levels the factor is none
        left = [components(data.without(factor, int(level))) for level in levels]
        parts = {name: np.array([of.get(name, np.nan) for of in left]) for name in components(data)}
    with np.errstate(divide="ignore", invalid="ignore"):  # what does not vary has no shares
        return {name: 100 * values / whole for name, values in parts.items()}
