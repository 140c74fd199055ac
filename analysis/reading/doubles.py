"""A study's Δ from two halves of its items, all models on common axes: what noiseless statistics are made from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.inference.components import Doubles
from analysis.inference.items import Floats, Singles
from analysis.reading.grids import ModelGrid, Name
from analysis.reading.transfer import regime_in
from study.cells import Cell


@dataclass(frozen=True)
class Twice:
    """M models, S sources, T targets."""

    models: tuple[str, ...]
    sources: tuple[Name, ...]
    targets: tuple[Name, ...]
    data: Doubles  # B × M × S × K × T
    printed: Floats  # M × S × T: the Δ of the transfer table
    regime: npt.NDArray[np.str_]  # S × T

    def only(self, *regimes: str) -> Twice:
        """With the cells of these regimes; the others are NaN."""
        rows = np.isin(self.regime, regimes)
        printed = np.where(rows, self.printed, np.nan)
        return Twice(self.models, self.sources, self.targets, self.data.only(rows[:, None, :]), printed, self.regime)

    def apart(self) -> tuple[Singles, Singles]:
        """Δ over seeds, B × M × S × T, from either half of the items; where every source has two seeds, of other seeds.

        So two values have the noise of no item in common, nor of a seed where that can be told: a cell that lacks one
        has all of its seeds twice.
        """
        one, two = self.data.one, self.data.two
        counts = (~np.isnan(one[0])).any(axis=-1).sum(axis=-1)
        if not (counts[counts > 0] > 1).all():
            return _over_seeds(one), _over_seeds(two)
        turn = (np.arange(one.shape[0])[:, None] + np.arange(one.shape[3])) % 2 == 0  # B × K
        first = turn[:, None, None, :, None]
        told = _over_seeds(np.where(first, one, np.nan)), _over_seeds(np.where(first, np.nan, two))
        short = np.isnan(told[0]) | np.isnan(told[1])
        a, b = (np.where(short, _over_seeds(half), own) for half, own in zip((one, two), told, strict=True))
        return a, b


def _over_seeds(half: Singles) -> Singles:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(half, axis=3))


def twice(grids: Sequence[ModelGrid]) -> Twice:
    """Everything that items say twice."""
    sources, targets = (
        tuple(sorted({n for one in grids for n in getattr(one, end)})) for end in ("sources", "targets")
    )
    seeds = max(int(np.bincount(one.adapter).max()) for one in grids)
    shape = (grids[0].one.shape[0], len(grids), len(sources), seeds, len(targets))
    halves = [np.full(shape, np.nan, np.float32) for _ in range(2)]
    printed = np.full((len(grids), len(sources), len(targets)), np.nan)
    for m, one in enumerate(grids):
        at_source = np.array([sources.index(name) for name in one.sources])
        at_target = np.array([targets.index(name) for name in one.targets])
        seed = np.arange(len(one.adapter)) - np.searchsorted(one.adapter, one.adapter)
        for whole, half in zip(halves, (one.one, one.two), strict=True):
            whole[:, m, at_source[one.adapter][:, None], seed[:, None], at_target] = half
        printed[m][np.ix_(at_source, at_target)] = one.grid.delta
    data = Doubles(halves[0], halves[1], any(one.cells.seeds.known for one in grids))
    joint = {name: cells for one in grids for name, cells in one.joint.items()}
    kinds = np.array([[regime_in(joint, source, Cell(*target)) for target in targets] for source in sources])
    return Twice(tuple(one.model for one in grids), sources, targets, data, printed, kinds)
