"""Is giving the same as taking? The antisymmetric share of a transfer matrix.

For a square, complete matrix M with its off-diagonal mean taken off and its diagonal set to 0:
share = ‖(M − Mᵀ)/2‖² / ‖M‖². 0 is a symmetric matrix (what a gives b, b gives a), 1 an antisymmetric one (what a gives
b, b loses to a); independent entries give 0.5. Noise is such independent entries and draws the share towards 0.5;
`share_noiseless` is made of products of two halves of the items (`analysis/inference/ceiling.py`) and has none.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import NotComputable, Table, need
from analysis.inference import ceiling as noiseless
from analysis.inference.items import Singles
from analysis.reading.doubles import Twice, twice
from analysis.reading.grids import ModelGrid
from analysis.reading.study import Study
from analysis.statistics.matrices import cell_matrix, language_matrix, square, task_matrix
from study.cells import REGIMES

Array = npt.NDArray[np.float64]
MATRICES = {"language": language_matrix, "task": task_matrix, "cell": cell_matrix}


def complete(long: pl.DataFrame) -> Array:
    """N × N matrix of `source, target, delta` over what is both, NaN on its diagonal; NotComputable if cells lack."""
    labels = sorted(set(long["source"]) & set(long["target"]))
    n = len(labels)
    need(n >= 3, "fewer than three are both source and target")
    matrix = square(long, labels)
    np.fill_diagonal(matrix, np.nan)
    lacking = int(np.isnan(matrix).sum()) - n
    need(lacking == 0, f"the matrix is not complete, {lacking} of {n * n - n} cells are missing")
    return matrix


def antisymmetric_share(matrix: Array) -> float:
    """Share of the off-diagonal variance that is antisymmetric; NaN when there is none."""
    off = ~np.eye(len(matrix), dtype=bool)
    centred = np.where(off, matrix - matrix[off].mean(), 0.0)
    total = float((centred**2).sum())
    if total < 1e-12:
        return float("nan")
    return float((((centred - centred.T) / 2) ** 2).sum() / total)


def asymmetry(transfer: pl.DataFrame, grids: Sequence[ModelGrid] = ()) -> pl.DataFrame:
    """`matrix, share, share_noiseless, n, note`: language, task and cell matrix; % or null, the reason in note."""
    rows: list[tuple[str, float | None, float | None, int | None, str]] = []
    whole = twice(grids) if grids else None
    for name, make in MATRICES.items():
        try:
            matrix = complete(make(transfer))
        except NotComputable as why:
            rows.append((name, None, None, None, str(why)))
            continue
        share = antisymmetric_share(matrix)
        fair = float("nan") if whole is None else noiseless.antisymmetric_share(*_halves(whole, name))
        notes = {
            "the matrix is constant": share != share,
            "nothing but noise varies": whole is not None and fair != fair,
        }
        note = next((words for words, holds in notes.items() if holds), "")
        rows.append((name, 100 * share, 100 * fair, len(matrix), note))
    need(any(row[1] is not None for row in rows), "; ".join(f"{row[0]}: {row[4]}" for row in rows))
    numbers = dict.fromkeys(("share", "share_noiseless"), pl.Float64)
    schema = {"matrix": pl.String, **numbers, "n": pl.Int64, "note": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None)


def _halves(whole: Twice, name: str) -> tuple[Singles, Singles]:
    """The matrix from either half of the items, B × N × N, over the labels that are source and target."""
    regimes, part = {"language": ("MT-CL",), "task": ("CT-ML",), "cell": REGIMES}[name], {"task": 0, "language": 1}
    rows = whole.only(*regimes)
    ends = [
        [label[part[name]] if name in part else "/".join(label) for label in end]
        for end in (rows.sources, rows.targets)
    ]
    labels = sorted(set(ends[0]) & set(ends[1]))
    source, target = (np.array([[label == one for one in labels] for label in end], np.float32) for end in ends)
    made = []
    for half in (rows.data.one, rows.data.two):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            of_cells = np.nanmean(half, axis=3)  # B × M × S × T
        there = ~np.isnan(of_cells)
        total = np.einsum("bmst,sa,tc->bac", np.where(there, of_cells, 0), source, target, optimize=True)
        count = np.einsum("bmst,sa,tc->bac", there.astype(np.float32), source, target, optimize=True)
        made.append(total / np.maximum(count, 1))
    return made[0], made[1]


TABLES = (
    Table[Study](
        "asymmetry",
        "Is giving the same as taking",
        "language, task and cell matrix",
        {
            "matrix": "language, task or cell",
            "share": "antisymmetric share of the off-diagonal variance, %; 0 symmetric, 50 unrelated, 100 opposite",
            "share_noiseless": "the same without the noise of items, %; null where items are not known",
            "n": "rows of the matrix",
            "note": "why there is no share",
        },
        lambda study: asymmetry(study.singles.transfer, study.singles.grids),
        how="0 %: what a gives b, b gives a. 50 %: giving says nothing about getting back. 100 %: one's gain is "
        "the other's loss.",
    ),
)
