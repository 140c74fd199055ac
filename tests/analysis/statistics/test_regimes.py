"""The summary by regime against plain pandas."""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.statistics import regimes
from tests.support.transfers import summed_up


def test_regime_summary(transfer: pl.DataFrame) -> None:
    frame = transfer.to_pandas()
    table = regimes.regime_summary(transfer)
    assert table.columns == ["regime", "n", "mean", "median", "positive_rate", "harm_rate"]
    assert table["regime"].to_list() == ["all", "MT-ML", "MT-CL", "CT-ML", "CT-CL"]
    for name, *values in table.iter_rows():
        rows = frame[frame["regime"] != "MT-ML"] if name == "all" else frame[frame["regime"] == name]
        np.testing.assert_allclose(values, summed_up(rows["delta"]))
