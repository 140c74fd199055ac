"""Scores of givers and takers as weights of cells: raw, and adjusted for whom they met.

A donor never meets itself as a recipient, and cells may be missing, so raw means compare unlike sets. Adjusted, Δ is
fitted by least squares as the giver's effect plus an effect of each target cell (for takers: plus one of each source
cell), on the same rows; effects are centred and the mean of all rows is put back, so that raw and adjusted are on one
scale. Both are linear in Δ: a row of weights per name, which `means` gives intervals.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.inference.items import Floats, Ints

Mask = npt.NDArray[np.bool_]


def raw_weights(rows: Mask, name: Ints, n_names: int) -> Floats:
    """Mean of the rows of each name: names × S × T. `rows` says which cells count, `name` whose each cell is."""
    member = np.stack([rows & (name == a) for a in range(n_names)]).astype(np.float64)
    return np.asarray(member / np.maximum(member.sum(axis=(1, 2), keepdims=True), 1.0))


def adjusted_weights(rows: Mask, name: Ints, other: Ints, n_names: int) -> Floats:
    """The same, adjusted for `other`: the number of the cell at the other end. All 0 where it cannot be told.

    It cannot where names have no partner in common, not even through others (two languages, say: each meets only the
    other).
    """
    here = np.flatnonzero(rows.ravel())
    names, a = np.unique(name.ravel()[here], return_inverse=True)
    partners, b = np.unique(other.ravel()[here], return_inverse=True)
    design = np.zeros((len(here), len(names) + len(partners)))
    design[np.arange(len(here)), a] = 1.0
    design[np.arange(len(here)), len(names) + b] = 1.0
    inverse = np.linalg.pinv(design, rcond=1e-10)
    wanted = np.zeros((len(names), design.shape[1]))
    wanted[:, : len(names)] = np.eye(len(names)) - 1 / len(names)
    found = wanted @ inverse
    told = np.abs(found @ design - wanted).max(axis=1) < 1e-8
    weights = np.zeros((n_names, rows.size))
    weights[names[told][:, None], here[None]] = found[told] + 1 / len(here)
    return weights.reshape(n_names, *rows.shape)
