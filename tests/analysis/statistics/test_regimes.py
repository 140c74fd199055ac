"""The summary by regime against plain pandas."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.statistics import regimes
from tests.support.transfers import summed_up


def test_regime_summary(transfer: pl.DataFrame) -> None:
    frame = transfer.to_pandas()
    table = regimes.regime_summary(transfer)
    assert table.columns == list(regimes.COLUMNS)
    assert table["regime"].to_list() == ["all", "MT-ML", "MT-CL", "CT-ML", "CT-CL"]
    sums = table.select("regime", "n", "mean", "median", "positive_rate", "harm_rate")
    for name, *values in sums.iter_rows():
        rows = frame[frame["regime"] != "MT-ML"] if name == "all" else frame[frame["regime"] == name]
        np.testing.assert_allclose(values, summed_up(rows["delta"]))


def test_the_interval_of_a_mean_is_over_models(transfer: pl.DataFrame) -> None:
    row = regimes.regime_summary(transfer).row(by_predicate=pl.col("regime") == "CT-ML", named=True)
    means = transfer.filter(pl.col("regime") == "CT-ML").group_by("model").agg(pl.col("delta").mean())["delta"]
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (row["low"], row["high"]) == (pytest.approx(expected.low), pytest.approx(expected.high))
