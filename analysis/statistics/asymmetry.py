"""Is giving the same as taking? The antisymmetric share of a transfer matrix.

For a square, complete matrix M with its off-diagonal mean taken off and its diagonal set to 0:
share = ‖(M − Mᵀ)/2‖² / ‖M‖². 0 is a symmetric matrix (what a gives b, b gives a), 1 an antisymmetric one (what a gives
b, b loses to a); independent entries give 0.5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import NotComputable, Table, need
from analysis.reading.study import Study
from analysis.statistics.matrices import cell_matrix, language_matrix, square, task_matrix

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


def asymmetry(transfer: pl.DataFrame) -> pl.DataFrame:
    """`matrix, share, n, note`: language, task and cell matrix; share in % or null with the reason in note."""
    rows: list[tuple[str, float | None, int | None, str]] = []
    for name, make in MATRICES.items():
        try:
            matrix = complete(make(transfer))
        except NotComputable as why:
            rows.append((name, None, None, str(why)))
            continue
        share = antisymmetric_share(matrix)
        constant = share != share
        rows.append(
            (name, None if constant else 100 * share, len(matrix), "the matrix is constant" if constant else "")
        )
    need(any(row[1] is not None for row in rows), "; ".join(f"{row[0]}: {row[3]}" for row in rows))
    return pl.DataFrame(
        rows, schema={"matrix": pl.String, "share": pl.Float64, "n": pl.Int64, "note": pl.String}, orient="row"
    )


TABLES = (
    Table[Study](
        "asymmetry",
        "Is giving the same as taking",
        "language, task and cell matrix",
        {
            "matrix": "language, task or cell",
            "share": "antisymmetric share of the off-diagonal variance, %; 0 symmetric, 50 unrelated, 100 opposite",
            "n": "rows of the matrix",
            "note": "why there is no share",
        },
        lambda study: asymmetry(study.transfer),
        how="0 %: what a gives b, b gives a. 50 %: giving says nothing about getting back. 100 %: one's gain is "
        "the other's loss.",
    ),
)
