"""Δ twice from disjoint items: two measurements of the same thing whose item noise is independent.

A split deals the item clusters of every task into two halves, alike for all models, languages and adapters, so that the
base's items differ too. A product of a Δ of one half and a Δ of the other has no item noise in its mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from analysis.inference.items import Column, Ints, Singles

SPLITS = 20
SEED = 20251113


def sides(task_of_cluster: Ints, splits: int = SPLITS, seed: int = SEED) -> npt.NDArray[np.bool_]:
    """C × B: whether each cluster is in the first half of each split; half of each task's clusters are."""
    first = np.zeros((len(task_of_cluster), splits), bool)
    for task in np.unique(task_of_cluster):
        mine = np.flatnonzero(task_of_cluster == task)
        rng = np.random.default_rng([seed, int(task)])
        order = rng.permuted(np.tile(np.arange(len(mine)), (splits, 1)), axis=1).T
        extra = rng.integers(0, 2, splits) if len(mine) % 2 else np.zeros(splits, np.int64)
        first[mine] = order < (len(mine) // 2 + extra)
    return first


def halves(columns: Sequence[Column], n_adapters: int, first: npt.NDArray[np.bool_]) -> tuple[Singles, Singles]:
    """Δ of every adapter of a model on every target from either half: B × R × T; NaN where a half has no item."""
    splits = first.shape[1]
    found = np.full((2, splits, n_adapters, len(columns)), np.nan, np.float32)
    for t, column in enumerate(columns):
        side = first[column.cluster].astype(np.float32)
        there = (~np.isnan(column.difference)).astype(np.float32)
        known = np.nan_to_num(column.difference)
        total, count = known.sum(axis=1, keepdims=True), there.sum(axis=1, keepdims=True)
        sums, counts = known @ side, there @ side
        with np.errstate(divide="ignore", invalid="ignore"):
            found[0][:, column.adapter, t] = (sums / counts).T
            found[1][:, column.adapter, t] = ((total - sums) / (count - counts)).T
    return found[0], found[1]
