"""The mean difference of two grids on the cells both have, with an interval.

Cells of a source move together (its seeds), and so do cells of a target (its base and items): the variance of the mean
is clustered both ways (Cameron, Gelbach and Miller 2011), no smaller than either way alone, and Student's t has one
degree of freedom less than there are clusters on the smaller side.
"""

from __future__ import annotations

import numpy as np

from analysis.inference.items import Floats
from analysis.inference.means import Interval, interval


def mean_difference(difference: Floats, level: float = 0.95) -> Interval:
    """Of S × T differences, NaN where a side lacks the cell; without ends where a side has fewer than two levels."""
    there = ~np.isnan(difference)
    n = int(there.sum())
    mean = float(difference[there].mean())
    rest = np.where(there, difference - mean, 0.0)
    ways, sizes = [], []
    for axis in (0, 1):
        groups = int(there.any(axis=axis).sum())
        sizes.append(groups)
        factor = groups / (groups - 1) if groups > 1 else np.nan
        ways.append(factor * float((rest.sum(axis=axis) ** 2).sum()) / n**2)
    alone = float((rest**2).sum()) / n**2
    variance = max(sum(ways) - alone, *ways)
    return interval(np.array([mean]), np.array([variance]), np.array([float(min(sizes) - 1)]), level)
