"""Levels that stand alone: one harm beside nothing would make all look as if they differed, and the best be believed.

A level stands alone where its mean is further from those of the others than chance allows (Grubbs 1950), one by one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEAST = 1e-9  # the spread of others that are all alike
ALONE, FEWEST = 0.05, 3  # chance that, of levels that are alike, one is told from the others; of more than so many


def alone(level: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of each of L levels that stands alone: the square of how far it is from the others; else 0.

    `level` says of which level each of the values is.
    """
    from scipy.stats import t

    count = np.bincount(level)
    found, mean = np.zeros(len(count)), np.bincount(level, values) / np.maximum(count, 1)
    rest = np.flatnonzero(count)
    while len(rest) > FEWEST:
        last = rest[np.abs(mean[rest] - mean[rest].mean()).argmax()]
        others = mean[rest[rest != last]]
        far, n = mean[last] - others.mean(), len(others)
        error = max(float(others.std(ddof=1)) * np.sqrt(1 + 1 / n), LEAST)
        if 2 * t.sf(abs(far) / error, n - 1) * len(rest) >= ALONE:
            break
        found[last], rest = far**2, rest[rest != last]
    return found
