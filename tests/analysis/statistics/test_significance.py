"""Claims about single cells: against scipy on the items themselves, and their families against plain loops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.frames import KEYS
from analysis.reading.study import Study, load_store
from analysis.statistics import significance
from tests.support.synth import Shape, write_store


@pytest.fixture(scope="module")
def table(study: Study) -> pl.DataFrame:
    return significance.significance(study.grids)


def test_it_covers_the_transfer_table(table: pl.DataFrame, study: Study) -> None:
    assert table.select(KEYS).equals(study.transfer.select(KEYS))
    np.testing.assert_allclose(table["delta"], study.transfer["delta"], atol=1e-4)
    assert table["n_seeds"].to_list() == study.transfer["n_seeds"].to_list()
    assert set(table["about"]) == {"the source"}


def test_families_are_the_models_transfer_cells(table: pl.DataFrame) -> None:
    for (_, own), rows in table.with_columns(own=pl.col("regime") == "MT-ML").group_by("model", "own"):
        for claim in ("worse", "better", "harmed"):
            expected = stats.false_discovery_control(rows[f"p_{claim}"])
            np.testing.assert_allclose(rows[f"q_{claim}"], expected)
            assert (rows[claim] == (expected <= 0.05)).all()
        assert (rows["q_worse_gated"].null_count() == rows.height) is bool(own)


def test_harm_is_claimed_of_no_cell_that_is_better(table: pl.DataFrame) -> None:
    assert not table.filter(pl.col("worse") & pl.col("better")).height
    assert table.filter(pl.col("harmed") & (pl.col("q_harmed") > 0.05)).is_empty()
    assert (table["p_harmed"] >= table["p_worse"] - 1e-12).all()


def test_one_seed_is_a_t_test_of_the_items(tmp_path: Path) -> None:
    write_store(tmp_path / "s", Shape(items=30, seeds=(1,)))
    study = load_store(str(tmp_path / "s"))
    found = significance.significance(study.grids)
    assert set(found["about"]) == {"this adapter"}
    panel = study.panels[0]
    kept = (
        study.units[panel.units.tolist()].with_row_index("row").filter(pl.col("kind") == "trained").row(0, named=True)
    )
    d = 100.0 * (panel.norm[kept["row"]] - panel.norm[0])
    row = found.filter(
        pl.col("source_task") == kept["source_task"],
        pl.col("source_language") == kept["source_language"],
        pl.col("target_task") == panel.task,
        pl.col("target_language") == panel.language,
    ).row(0, named=True)
    augmented = np.concatenate([d, [100.0, -100.0]])
    assert row["p_worse"] == pytest.approx(stats.ttest_1samp(augmented, 0, alternative="less").pvalue, rel=1e-4)
    assert row["p_harmed"] == pytest.approx(stats.ttest_1samp(augmented, -1, alternative="less").pvalue, rel=1e-4)
    assert (row["gains"], row["losses"]) == ((d > 0).sum(), (d < 0).sum())
    assert row["n_items"] == 30


def test_missing_seeds_and_items_lower_their_number(study: Study) -> None:
    panel = study.panels[0]
    norm = panel.norm.copy()
    norm[1, :5] = np.nan
    norm[2] = np.nan
    holes = replace(panel, norm=norm)
    found = significance.significance(replace(study, panels=(holes, *study.panels[1:])).grids)
    whole = significance.significance(study.grids)
    here = (pl.col("model") == panel.model) & (pl.col("target_task") == panel.task)
    here &= pl.col("target_language") == panel.language
    before, after = (one.filter(here) for one in (whole, found))
    assert after["n_seeds"].sum() == before["n_seeds"].sum() - 1
    assert after.height == before.height
    assert not after["p_worse"].is_nan().any()


def test_claims_are_counted_over_transfer_cells(table: pl.DataFrame) -> None:
    rows = table.filter(pl.col("regime") != "MT-ML")
    called = {name: rows[name].sum() for name in ("worse", "better", "harmed")}
    assert significance.claimed(table) == called | {"lowest": 0}
