"""Levels that stand alone: one harm beside nothing would make all look as if they differed, and the best be believed.

A level stands alone where its mean is further from those of the others than chance allows (Grubbs 1950), one by one.
Where it is known to err by more than they do, a source whose seeds differ most, chance allows it more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEAST = 1e-9  # the spread of others that are all alike
ALONE, FEWEST = 0.05, 3  # chance that, of levels that are alike, one is told from the others; of more than so many


def alone(
    level: npt.NDArray[np.int64], values: npt.NDArray[np.float64], errors: npt.NDArray[np.float64] | float = 0.0
) -> npt.NDArray[np.float64]:
    """Of each of L levels that stands alone: the square of how far it is from the others, error taken off; else 0.

    `level` says of which level each of the values is; `errors` are variances of errors that all values of its level
    share.
    """
    from scipy.stats import t

    count = np.bincount(level)
    found, mean = np.zeros(len(count)), np.bincount(level, values) / np.maximum(count, 1)
    err = np.bincount(level, np.broadcast_to(errors, values.shape)) / np.maximum(count, 1)
    rest = np.flatnonzero(count)
    while len(rest) > FEWEST:
        last = rest[np.abs(mean[rest] - mean[rest].mean()).argmax()]
        among = rest[rest != last]
        others, more = mean[among], max(float(err[last] - err[among].mean()), 0.0)
        far, n = mean[last] - others.mean(), len(others)
        error = max(float(np.sqrt(others.var(ddof=1) * (1 + 1 / n) + more)), LEAST)
        if 2 * t.sf(abs(far) / error, n - 1) * len(rest) >= ALONE:
            break
        found[last], rest = max(far**2 - err[last], 0.0), among
    return found
