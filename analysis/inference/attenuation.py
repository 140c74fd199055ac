"""How far noise keeps a correlation from what it would be: reliabilities, ceilings, and Pearson's r without it.

Of two measurements of the same values whose noise is independent (`Twice.apart`) the covariance is the variance of the
values alone. Over that of what is printed it is a *reliability*; values that are known without noise correlate with
printed ones at √reliability at most, two printed ones at √(r_a r_b) (Spearman 1904, Am. J. Psychol. 15). In ranks, for
normal values, that is (6/π) asin(r/2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.inference.items import Floats, Singles

LEAST = 1e-9  # pp², below which nothing varies


def covariance(one: Singles, two: Singles) -> float:
    """Of N values that B splits measured twice (B × N each), the mean over splits; NaN with fewer than three values.

    Values that some split lacks are left out.
    """
    there = ~(np.isnan(one).any(axis=0) | np.isnan(two).any(axis=0))
    if there.sum() < 3:
        return float("nan")
    a, b = (half[:, there].astype(np.float64) for half in (one, two))
    a, b = (half - half.mean(axis=1, keepdims=True) for half in (a, b))
    return float((a * b).sum(axis=1).mean() / (there.sum() - 1))


def reliability(one: Singles, two: Singles, printed: Floats) -> float:
    """Share of the variance of N printed values that is not noise, 0 to 1; NaN where nothing varies."""
    known = ~(np.isnan(printed) | np.isnan(one).any(axis=0) | np.isnan(two).any(axis=0))
    if known.sum() < 3 or (whole := float(np.var(printed[known], ddof=1))) < LEAST:
        return float("nan")
    return float(np.clip(covariance(one[:, known], two[:, known]) / whole, 0.0, 1.0))


def spearman_ceiling(pearson: float) -> float:
    """Spearman's ρ of normal values with this Pearson's r."""
    return float(6 / np.pi * np.arcsin(pearson / 2))


def clean_pearson(here: tuple[Singles, Singles], there: tuple[Singles, Singles]) -> float:
    """Pearson's r of N values of two studies without noise, from either's halves (B × N), split alike in both.

    Noise that the studies share, that of the base's items, is in no product. Values that some split lacks are left out.
    NaN where nothing but noise varies in one; within −1 … 1.
    """
    known = ~np.any([np.isnan(half).any(axis=0) for half in (*here, *there)], axis=0)
    here, there = ((one[:, known], two[:, known]) for one, two in (here, there))
    both = (covariance(here[0], there[1]) + covariance(there[0], here[1])) / 2
    own = [covariance(*one) for one in (here, there)]
    if not min(own) > LEAST:
        return float("nan")
    return float(np.clip(both / np.sqrt(own[0] * own[1]), -1.0, 1.0))


def means_of(half: Singles, source: npt.NDArray[np.bool_], target: npt.NDArray[np.bool_]) -> Singles:
    """Means over the cells of each pair of groups, B × A × C, of values B × M × S × T; groups are A × S and C × T.

    NaN where a pair has no cell.
    """
    there = ~np.isnan(half)
    ends = source.astype(np.float32), target.astype(np.float32)
    total = np.einsum("bmst,as,ct->bac", np.where(there, half, 0), *ends, optimize=True)
    count = np.einsum("bmst,as,ct->bac", there.astype(np.float32), *ends, optimize=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
