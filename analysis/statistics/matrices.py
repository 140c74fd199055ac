"""Transfer as matrices, in long form: from whom, to whom, how much.

A cell of a matrix is the mean Δ of its rows. Diagonals are masked by construction: CT-ML rows never join a task to
itself, MT-CL rows never a language to itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import CELL_WORDS, DELTA_WORDS, HARM, SOURCE, TARGET, Table, cell, harmed, need, transfer_rows
from analysis.reading.study import Study
from analysis.statistics.regimes import NO_ROWS


def task_matrix(transfer: pl.DataFrame) -> pl.DataFrame:
    """`source, target, delta`: mean Δ per (source task, target task) over CT-ML rows."""
    return _matrix(transfer_rows(transfer, "CT-ML"), "source_task", "target_task")


def language_matrix(transfer: pl.DataFrame) -> pl.DataFrame:
    """`source, target, delta`: mean Δ per (source language, target language) over MT-CL rows."""
    return _matrix(transfer_rows(transfer, "MT-CL"), "source_language", "target_language")


def _matrix(rows: pl.DataFrame, source: str, target: str) -> pl.DataFrame:
    pair = [pl.col(source).alias("source"), pl.col(target).alias("target")]
    return rows.group_by(pair).agg(pl.col("delta").mean()).sort("source", "target")


def cell_matrix(transfer: pl.DataFrame) -> pl.DataFrame:
    """`source, target, delta`, the four parts of the names, `regime, n_models, harmed`.

    Every (source cell, target cell), MT-ML too: mean Δ over models and in how many models it is harm.
    """
    rows = transfer.filter(pl.col("delta").is_not_null())
    keys = [*SOURCE, *TARGET, "regime"]
    table = rows.group_by(keys).agg(
        pl.col("delta").mean(),
        pl.len().cast(pl.Int64).alias("n_models"),
        harmed().sum().cast(pl.Int64).alias("harmed"),
    )
    names = [cell(*SOURCE).alias("source"), cell(*TARGET).alias("target")]
    return table.select(*names, "delta", *keys, "n_models", "harmed").sort(SOURCE + TARGET)


def _cells(transfer: pl.DataFrame) -> pl.DataFrame:
    need(bool(transfer["delta"].count()), NO_ROWS)
    return cell_matrix(transfer)


def square(long: pl.DataFrame, labels: list[str]) -> npt.NDArray[np.float64]:
    """`source, target, delta` as N × N values, sources in rows, both ends in the order of `labels`; NaN without one."""
    at = {label: i for i, label in enumerate(labels)}
    matrix = np.full((len(labels), len(labels)), np.nan)
    for source, target, delta in long.select("source", "target", "delta").iter_rows():
        if source in at and target in at:
            matrix[at[source], at[target]] = delta
    return matrix


_MATRIX_WORDS = {"source": "source", "target": "target", "delta": DELTA_WORDS}
TABLES = (
    Table[Study]("task_matrix", "Task to task", "CT-ML rows", _MATRIX_WORDS, lambda study: task_matrix(study.transfer)),
    Table[Study](
        "language_matrix",
        "Language to language",
        "MT-CL rows",
        _MATRIX_WORDS,
        lambda study: language_matrix(study.transfer),
    ),
    Table[Study](
        "matrix",
        "Every source on every target",
        "all rows, averaged over models",
        {
            **_MATRIX_WORDS,
            **CELL_WORDS,
            "n_models": "models averaged",
            "harmed": f"models in which this cell shows a harm ({HARM})",
        },
        lambda study: _cells(study.transfer),
    ),
)
