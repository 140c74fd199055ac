"""Matrices against plain pandas."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analysis.statistics import matrices


def test_matrices(transfer: pl.DataFrame) -> None:
    frame = transfer.to_pandas()
    for table, regime, kind in (
        (matrices.task_matrix(transfer), "CT-ML", "task"),
        (matrices.language_matrix(transfer), "MT-CL", "language"),
    ):
        expected = frame[frame["regime"] == regime].groupby([f"source_{kind}", f"target_{kind}"])["delta"].mean()
        assert table.columns == ["source", "target", "delta"]
        np.testing.assert_allclose(table["delta"], expected.sort_index())
        assert (table["source"] != table["target"]).all()


def test_cell_matrix_averages_models(transfer: pl.DataFrame) -> None:
    table = matrices.cell_matrix(transfer)
    one = table.row(7, named=True)
    rows = transfer.filter(
        *(pl.col(k) == one[k] for k in ("source_task", "source_language", "target_task", "target_language"))
    )
    assert one["delta"] == pytest.approx(rows["delta"].mean())
    assert one["harmed"] == (rows["delta"] <= -1).sum()
    assert (
        table.height == transfer.select("source_task", "source_language", "target_task", "target_language").n_unique()
    )
