"""What stands beside a harm rate."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analysis.inference.rates import bounding, lower_bound
from analysis.reading.study import Study
from analysis.statistics import harm, pareto, regimes
from analysis.statistics.rates import evidence


def test_every_table_with_a_harm_rate_has_them(study: Study) -> None:
    known = evidence(study.grids)
    tables = [
        regimes.regime_summary(study.transfer, study.grids),
        harm.on_off_task(study.transfer, known),
        harm.harm_breakdown(study.transfer, known),
        pareto.pareto(study.transfer, known),
    ]
    for table in tables:
        assert table["harm_floor"].null_count() == table["harm_least"].null_count() == 0
        assert table["harm_floor"].is_between(0, 100).all()
        assert table["harm_least"].is_between(0, 100).all()


def test_without_items_they_are_not_known(transfer: pl.DataFrame) -> None:
    table = regimes.regime_summary(transfer)
    assert table["harm_floor"].null_count() == table["harm_least"].null_count() == table.height


def test_they_are_of_the_rows_of_the_line(study: Study) -> None:
    row = regimes.regime_summary(study.transfer, study.grids).row(by_predicate=pl.col("regime") == "CT-CL", named=True)
    floors, sure, scores = [], [], []
    for one in study.grids:
        other = np.array([[s[0] != t[0] and s[1] != t[1] for t in one.targets] for s in one.sources])
        floors.append(one.floor[other])
        sure.append(one.cells.sure[other])
        scores.append(one.null_scores[other])
    assert row["harm_floor"] == pytest.approx(100 * np.concatenate(floors).mean())
    bound = lower_bound(np.concatenate(sure), bounding(np.concatenate(scores)))
    assert row["harm_least"] == pytest.approx(100 * bound)
