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
from analysis.statistics.matrices import cell_matrix, language_matrix, task_matrix

Array = npt.NDArray[np.float64]
MATRICES = {"language": language_matrix, "task": task_matrix, "cell": cell_matrix}


def square(long: pl.DataFrame) -> tuple[list[str], Array]:
    """Labels and matrix of `source, target, delta`; NaN on the diagonal; NotComputable unless square and complete."""
    labels = sorted(set(long["source"]) & set(long["target"]))
    n = len(labels)
    need(n >= 3, "fewer than three are both source and target")
    at = {label: i for i, label in enumerate(labels)}
    matrix = np.full((n, n), np.nan)
    for source, target, delta in long.select("source", "target", "delta").iter_rows():
        if source in at and target in at and source != target:
            matrix[at[source], at[target]] = delta
    lacking = int(np.isnan(matrix).sum()) - n
    need(lacking == 0, f"the matrix is not complete, {lacking} of {n * n - n} cells are missing")
    return labels, matrix


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
            labels, matrix = square(make(transfer))
        except NotComputable as why:
            rows.append((name, None, None, str(why)))
            continue
        share = antisymmetric_share(matrix)
        constant = share != share
        rows.append(
            (name, None if constant else 100 * share, len(labels), "the matrix is constant" if constant else "")
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
