"""One cell: its interval, and the p-values of the three things that may be said of it.

V = V_items + σ²_seed / K, with degrees of freedom by Satterthwaite (1946): those of V_items are the clusters of items,
pseudo-items counted, less one; those of σ²_seed are what sources have together (`seeds`), also where it is estimated as
0. The statistic is Student's t around the centre that one pseudo-gain and one pseudo-loss make (Bonett and Price 2012).

Where items are graded (ROUGE, F1, bits per byte) their scores may be skewed, and so is Student's t; Hall's monotone
transformation of it (1992, J. R. Stat. Soc. B 54) takes the skew out, by the third moment of Δ. Right and wrong with
their pseudo-items need none of it.

With one seed everywhere σ²_seed is unknown, and all of this is about the adapters that were trained, not about what
training on the source does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.inference.items import PSEUDO, Floats, Grid
from analysis.inference.seeds import SeedSpread, at_cells, joined, seed_spread

NO_SKEW = 1e-9


@dataclass(frozen=True)
class Cells:
    """S × T each, NaN where there is no cell; p-values are one-sided."""

    centre: Floats
    se: Floats
    df: Floats
    low: Floats
    high: Floats
    worse: Floats  # p of H0: Δ ≥ 0
    better: Floats  # p of H0: Δ ≤ 0
    sure: Floats  # p of H0: Δ ≥ harm threshold: small means harmed for certain
    seeds: SeedSpread


def cells(grid: Grid, harm: float | Floats, level: float = 0.95) -> Cells:
    """Intervals and p-values of every cell of a model; `harm`, of each target or of all, is in the unit of Δ."""
    from scipy.stats import t

    spread = seed_spread(grid)
    unsure = 2 * grid.items**2 / (grid.n_apart + PSEUDO - 1)  # were items normal; graded ones are nearly all 0, or not
    unsure = np.where(grid.graded, np.fmax(unsure, grid.items**2 * grid.heavy), unsure)
    se, df = joined(grid.items, unsure, at_cells(spread, grid.n_seeds))
    with np.errstate(divide="ignore", invalid="ignore"):
        skew = np.where(grid.graded, grid.cube / se**3, 0.0)
        wide = t.ppf((1 + level) / 2, df)
        low, high = (grid.centre - se * skewed(end, skew) for end in (wide, -wide))
        score, of_harm = (unskewed((grid.centre - null) / se, skew) for null in (0.0, harm))
        worse, better, sure = t.cdf(score, df), t.sf(score, df), t.cdf(of_harm, df)
    return Cells(grid.centre, se, df, low, high, worse, better, sure, spread)


def unskewed(score: Floats, skew: Floats) -> Floats:
    """Hall's transformation of t for a mean of this skewness: g(t) = ((1 + at)³ − 1) / 3a + a/2 with a = skew / 3."""
    a = np.where(np.abs(skew) > NO_SKEW, skew, 1.0) / 3
    return np.where(np.abs(skew) > NO_SKEW, ((1 + a * score) ** 3 - 1) / (3 * a) + a / 2, score)


def skewed(score: Floats, skew: Floats) -> Floats:
    """Its inverse."""
    a = np.where(np.abs(skew) > NO_SKEW, skew, 1.0) / 3
    return np.where(np.abs(skew) > NO_SKEW, (np.cbrt(1 + 3 * a * (score - a / 2)) - 1) / a, score)
