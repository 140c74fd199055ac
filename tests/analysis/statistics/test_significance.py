"""Tests and intervals of single cells against statsmodels, scipy and plain loops."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.reading.study import Study
from analysis.statistics import significance
from tests.support.transfers import first_rows


@pytest.fixture(scope="module")
def table(study: Study) -> pl.DataFrame:
    return significance.significance(study.panels, study.units, draws=400)


def test_mcnemar_equals_statsmodels() -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    for gains, losses in ((0, 0), (3, 3), (1, 9), (12, 2), (0, 1)):
        expected = mcnemar([[5, gains], [losses, 5]], exact=True).pvalue
        assert significance.mcnemar(np.array([gains]), np.array([losses])) == pytest.approx(expected)


def test_q_values_equal_scipy() -> None:
    p = np.random.default_rng(0).random(50) ** 3
    p[:6] = 0.2
    np.testing.assert_allclose(significance.benjamini_hochberg(p), stats.false_discovery_control(p))


def test_significance_covers_the_transfer_table(table: pl.DataFrame, study: Study) -> None:
    keys = ["model", "source_task", "source_language", "target_task", "target_language"]
    assert table.select(keys).equals(study.transfer.select(keys))
    np.testing.assert_allclose(table["delta"], study.transfer["delta"], atol=1e-6)
    assert table["n_seeds"].to_list() == study.transfer["n_seeds"].to_list()
    q = table.group_by("model", maintain_order=True).agg("p_value", "q_value")
    for _, p_values, q_values in q.iter_rows():
        np.testing.assert_allclose(q_values, stats.false_discovery_control(p_values))
    harmed = (table["delta"] <= -1) & (table["q_value"] <= 0.05)
    assert table["harmed"].equals(harmed.rename("harmed"))


def test_gains_and_losses_counted_by_hand(table: pl.DataFrame, study: Study) -> None:
    panel, rows = first_rows(study)
    source = rows.sources[0]
    mine = rows.difference[rows.source == 0]
    row = table.filter(
        pl.col("model") == panel.model,
        pl.col("source_task") == source[0],
        pl.col("source_language") == source[1],
        pl.col("target_task") == panel.task,
        pl.col("target_language") == panel.language,
    ).row(0, named=True)
    assert (row["gains"], row["losses"]) == ((mine > 0).sum(), (mine < 0).sum())
    assert row["p_value"] == pytest.approx(stats.binomtest(row["gains"], row["gains"] + row["losses"]).pvalue)


def test_bootstrap_interval_equals_a_plain_loop(study: Study) -> None:
    panel, rows = first_rows(study)
    draws = 4000
    table = significance.significance([panel], study.units, draws=draws)
    rng = np.random.default_rng(8)
    for index, (task, language) in enumerate(rows.sources[:2]):
        mine = rows.difference[rows.source == index]
        k, n = mine.shape
        plain = [100 * mine[rng.integers(0, k, k)][:, rng.integers(0, n, n)].mean() for _ in range(draws)]
        row = table.filter(pl.col("source_task") == task, pl.col("source_language") == language).row(0, named=True)
        spread = float(np.std(plain))
        assert [row["low"], row["high"]] == pytest.approx(
            np.quantile(plain, [0.025, 0.975]).tolist(), abs=0.25 * spread
        )


def test_resampling_is_reproducible_and_seeded(study: Study) -> None:
    one = significance.significance(study.panels[:2], study.units, draws=50, seed=1)
    assert one.equals(significance.significance(study.panels[:2], study.units, draws=50, seed=1))
    assert not one.equals(significance.significance(study.panels[:2], study.units, draws=50, seed=2))
