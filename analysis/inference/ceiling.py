"""How high an agreement could be, given the noise: ceilings for rank correlations, and matrices without noise.

Reliability is the share of the printed variance of a source's Δ over its recipients that is not noise: the numerator
is a product of disjoint halves (`components`). Two models that agreed perfectly would correlate √(r_a r_b); as
Kendall's τ, for normal values, (2/π) asin √(r_a r_b) (Greiner's relation).
"""

from __future__ import annotations

import numpy as np

from analysis.inference.components import Doubles, mean_products
from analysis.inference.items import Floats, Singles


def reliability(data: Doubles, printed: Floats) -> float:
    """Of one model's Δ within sources, over targets: `data` B × 1 × S × K × T and `printed` S × T, the same cells.

    NaN where nothing varies; at least 0, at most 1.
    """
    noiseless = _within(mean_products(data))
    seen = ~np.isnan(printed)
    filled, count = np.where(seen, printed, 0.0), seen.sum(axis=1)
    squares, every = (filled**2).sum(axis=1), filled.sum(axis=1) ** 2
    pairs = (count * (count - 1)).sum()
    if not pairs or np.isnan(noiseless):
        return float("nan")
    whole = squares.sum() / count.sum() - (every - squares).sum() / pairs
    return float(np.clip(noiseless / whole, 0.0, 1.0)) if whole > 1e-12 else float("nan")


def _within(products: dict[frozenset[str], float]) -> float:
    """Mean product of a cell with itself less that of two cells of one source."""
    both, one = (frozenset(name) for name in (("source", "target"), ("source",)))
    if both in products:
        return products[both] - products[one]
    alone = frozenset(["target"])  # one source only
    return products[alone] - products[frozenset()] if alone in products else float("nan")


def tau_ceiling(one: float, two: float) -> float:
    """Highest τ-b to expect of two rankings with these reliabilities."""
    return float(2 / np.pi * np.arcsin(np.sqrt(one * two)))


def antisymmetric_share(one: Singles, two: Singles) -> float:
    """Share of the off-diagonal variance of a square matrix that is antisymmetric, from two halves B × n × n of it.

    ⟨(A − Aᵀ)/2, (B − Bᵀ)/2⟩ / ⟨A, B⟩, off-diagonal means taken off, averaged over splits before dividing. NaN where
    what is not noise does not vary; else within 0 … 1.
    """
    off = ~np.eye(one.shape[1], dtype=bool)
    a, b = (np.where(off, m - m[:, off].mean(axis=1)[:, None, None], 0.0) for m in (one, two))
    whole = float((a * b).sum())
    turned = float(((a - a.transpose(0, 2, 1)) * (b - b.transpose(0, 2, 1))).sum()) / 4
    return float(np.clip(turned / whole, 0.0, 1.0)) if whole > 1e-9 else float("nan")
