"""The antisymmetric share of matrices whose share is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analysis.reading.study import Study
from analysis.statistics import asymmetry
from tests.support.transfers import grid


def test_antisymmetric_share() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40, 40))
    assert asymmetry.antisymmetric_share(a + a.T) == pytest.approx(0)
    assert asymmetry.antisymmetric_share(a - a.T) == pytest.approx(1)
    assert asymmetry.antisymmetric_share(a) == pytest.approx(0.5, abs=0.05)
    assert np.isnan(asymmetry.antisymmetric_share(np.ones((4, 4))))


def test_asymmetry_table_says_what_is_missing() -> None:
    transfer = grid()
    assert asymmetry.asymmetry(transfer)["share"].null_count() == 0
    holes = transfer.filter(~((pl.col("source_language") == "de") & (pl.col("target_language") == "en")))
    table = asymmetry.asymmetry(holes)
    by_name = {row["matrix"]: row for row in table.iter_rows(named=True)}
    assert by_name["language"]["share"] is None
    assert "not complete, 1 of 12" in by_name["language"]["note"]
    assert by_name["task"]["share"] is not None


def test_the_share_without_noise_stands_beside(study: Study) -> None:
    table = asymmetry.asymmetry(study.transfer, study.grids)
    assert table.columns == ["matrix", "share", "share_noiseless", "n", "note"]
    assert table["share_noiseless"].drop_nulls().is_between(0, 100).all()
    assert asymmetry.asymmetry(study.transfer)["share_noiseless"].null_count() == 3
