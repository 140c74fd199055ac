"""The Mantel test: is the correlation of two matrices more than their shared labels make likely?

Pairs that share a label are not independent, so rows and columns of one matrix are reordered together and the
correlation over off-diagonal cells is taken again (Mantel 1967, Cancer Res. 27). The p-value is two-sided: the share
of reorderings whose |r| reaches the observed one, the observed one included.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.frames import SEED

Array = npt.NDArray[np.float64]
PERMUTATIONS = 10_000
BATCH = 500


def correlate(a: Array, b: Array, permutations: int = PERMUTATIONS, seed: int = SEED) -> tuple[float, float, int]:
    """Pearson's r over off-diagonal cells that both N × N matrices have, its p-value, and the number of cells.

    (nan, nan, cells) when fewer than three cells are shared or one side is constant over them.
    """
    n = len(a)
    shared = ~(np.isnan(a) | np.isnan(b) | np.eye(n, dtype=bool))
    if shared.sum() < 3 or np.ptp(a[shared]) < 1e-12 or np.ptp(b[shared]) < 1e-12:
        return float("nan"), float("nan"), int(shared.sum())
    observed = float(np.corrcoef(a[shared], b[shared])[0, 1])
    rng = np.random.default_rng(seed)
    reached = 0
    for start in range(0, permutations, BATCH):
        orders = rng.permuted(np.tile(np.arange(n), (min(BATCH, permutations - start), 1)), axis=1)
        shuffled = b[orders[:, :, None], orders[:, None, :]]
        reached += int((np.abs(_correlations(a, shuffled)) >= abs(observed) - 1e-12).sum())
    return observed, (1 + reached) / (1 + permutations), int(shared.sum())


def _correlations(a: Array, many: Array) -> Array:
    """Pearson's r of N × N a with each of B matrices, over off-diagonal cells that both have.

    1 where it is undefined, since few cells meet: such a draw proves nothing.
    """
    here = ~(np.isnan(a) | np.eye(len(a), dtype=bool) | np.isnan(many))
    n = np.maximum(here.sum(axis=(1, 2)), 1)
    x, y = np.where(here, a, 0.0), np.where(here, many, 0.0)
    x_sum, y_sum = x.sum(axis=(1, 2)), y.sum(axis=(1, 2))
    covariance = (x * y).sum(axis=(1, 2)) - x_sum * y_sum / n
    spread = ((x**2).sum(axis=(1, 2)) - x_sum**2 / n) * ((y**2).sum(axis=(1, 2)) - y_sum**2 / n)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 1e-18, covariance / np.sqrt(spread), 1.0)


def ranked(matrix: Array) -> Array:
    """Average ranks of the off-diagonal cells that are there, for Spearman's correlation."""
    from scipy.stats import rankdata

    there = ~(np.isnan(matrix) | np.eye(len(matrix), dtype=bool))
    ranks = np.full(matrix.shape, np.nan)
    ranks[there] = rankdata(matrix[there].round(9))
    return ranks
