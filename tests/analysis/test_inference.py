"""Item-level inference: tests, bootstrap, rank stability, health, against scipy, statsmodels and plain loops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.frames import NotComputable
from analysis.reading.panels import Panel
from analysis.reading.study import Study, load_store
from analysis.statistics import health, resample, roles, significance, stability
from tests.support.synth import Shape, write_store


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


def first_rows(study: Study) -> tuple[Panel, resample.Rows]:
    panel = study.panels[0]
    rows = resample.trained_rows(panel, study.units)
    assert rows is not None
    return panel, rows


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


def test_interval_equals_numpy_quantiles() -> None:
    values = np.random.default_rng(0).normal(size=(5, 333)).astype(np.float32)
    low, high = resample.interval(values)
    np.testing.assert_allclose([low, high], np.quantile(values.astype(float), [0.025, 0.975], axis=1), rtol=1e-5)
    values[0, :7] = np.nan
    np.testing.assert_allclose(resample.interval(values)[0], np.nanquantile(values, 0.025, axis=1), rtol=1e-5)


def test_resampling_is_reproducible_and_seeded(study: Study) -> None:
    one = significance.significance(study.panels[:2], study.units, draws=50, seed=1)
    assert one.equals(significance.significance(study.panels[:2], study.units, draws=50, seed=1))
    assert not one.equals(significance.significance(study.panels[:2], study.units, draws=50, seed=2))


def test_item_weights_are_multinomial() -> None:
    weights = resample.ItemDraws(300).weights("task", 20)
    assert weights.shape == (20, 300)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)
    assert weights.mean() == pytest.approx(1 / 20)
    assert (20 * weights).var() == pytest.approx(1 - 1 / 20, rel=0.1)


def test_missing_items_leave_their_unit_out_of_the_draws(study: Study) -> None:
    panel, _ = first_rows(study)
    norm = panel.norm.copy()
    norm[1, :5] = np.nan
    holes = replace(panel, norm=norm, correct=np.where(np.isnan(norm), np.nan, panel.correct))
    rows = resample.trained_rows(holes, study.units)
    assert rows is not None
    weights = resample.ItemDraws(50).weights("t", len(panel.docs))
    row = int(np.flatnonzero(np.isnan(rows.difference).any(axis=1))[0])
    here = ~np.isnan(rows.difference[row])
    expected = 100 * (rows.difference[row][here] @ weights[here]) / weights[here].sum(axis=0)
    np.testing.assert_allclose(rows.estimates(weights)[row], expected, rtol=1e-4, atol=1e-4)


def test_rank_stability_estimates_are_the_roles(study: Study) -> None:
    found = stability.rank_stability(study.panels, study.units, draws=200)
    assert found.columns == ["kind", "role", "name", "estimate", "low", "high", "p_top3", "n_models"]
    for kind, table in (("language", roles.language_roles(study.transfer)), ("task", roles.task_roles(study.transfer))):
        for role in ("donor", "recipient"):
            ours = found.filter(pl.col("kind") == kind, pl.col("role") == role)
            both = ours.join(table, left_on="name", right_on=kind)
            assert both.height == table.height
            np.testing.assert_allclose(both["estimate"], both[role], atol=1e-3)
            assert (both["low"] <= both["high"]).all()
            assert ours["p_top3"].sum() == pytest.approx(min(3, ours.height))
    assert found.equals(stability.rank_stability(study.panels, study.units, draws=200))


def test_rank_stability_spread_equals_a_plain_loop(tmp_path: Path) -> None:
    """One model, one seed: the only source of spread is items, drawn alike in the languages of a task."""
    write_store(tmp_path / "s", Shape(items=30, tasks=("t",), seeds=(1,)))
    study = load_store(str(tmp_path / "s"))
    found = stability.rank_stability(study.panels, study.units, draws=3000)
    rng, n = np.random.default_rng(3), 30
    draws: dict[str, list[float]] = {}
    panels = [(p.language, resample.trained_rows(p, study.units)) for p in study.panels]
    for _ in range(3000):
        items = rng.integers(0, n, n)
        sums: dict[str, list[float]] = {}
        for target, rows in panels:
            assert rows is not None
            for index, (_, language) in enumerate(rows.sources):
                if language != target:
                    sums.setdefault(language, []).append(100 * float(rows.difference[index][items].mean()))
        for language, values in sums.items():
            draws.setdefault(language, []).append(float(np.mean(values)))
    for row in found.filter(pl.col("role") == "donor").iter_rows(named=True):
        plain = draws[row["name"]]
        assert [row["low"], row["high"]] == pytest.approx(np.quantile(plain, [0.025, 0.975]).tolist(), abs=1.7)


def test_statistics_of_items_say_why_when_there_are_none() -> None:
    for make in (significance.significance, stability.rank_stability, health.health):
        with pytest.raises(NotComputable, match="item rows"):
            make([], pl.DataFrame())


def doubts(panel: Panel, study: Study, *others: Panel, records: list[dict[str, object]] | None = None) -> set[str]:
    found = health.health([panel, *others], study.units, records or [])
    mine = found.filter(pl.col("target_task") == panel.task, pl.col("target_language") == panel.language)
    return set(mine["check"])


def test_health_checks(study: Study) -> None:
    one, other = [p for p in study.panels if p.model == study.panels[0].model and p.task == study.panels[0].task][:2]
    right = np.ones_like(one.norm)
    good = replace(other, norm=right)
    half = np.tile(np.arange(len(one.docs)) % 4 == 0, (len(one.units), 1)).astype(np.float32)
    assert "base at chance" in doubts(replace(one, norm=half), study, good)
    assert "base at chance" not in doubts(replace(one, norm=half), study, replace(other, norm=half))
    assert "base at chance" not in doubts(replace(one, norm=right), study, good)
    same = np.ones_like(one.pred)
    assert {"one option chosen", "identical predictions"} <= doubts(replace(one, pred=same), study)
    always_one = replace(one, pred=same, gold=np.ones_like(one.gold))
    assert "one option chosen" not in doubts(always_one, study)
    few = replace(one, docs=one.docs[:4], norm=right[:, :4], options=one.options[:4])
    assert "fewer items" in doubts(few, study, good)
    assert "fewer items" not in doubts(one, study, good)
    record: dict[str, object] = {"model": one.model, "train_doc_hashes": [one.hashes[3]]}
    assert "train/test overlap" in doubts(one, study, records=[record])


def test_chance_p_value_equals_scipy(study: Study) -> None:
    panel = study.panels[0]
    right = int(panel.norm[0].sum())
    expected = stats.binomtest(right, len(panel.docs), 0.25, alternative="greater").pvalue
    assert health._chance_p(panel) == pytest.approx(expected)


def test_unhealthy_targets_can_be_taken_out(study: Study) -> None:
    found = pl.DataFrame(
        [(study.panels[0].model, study.panels[0].task, study.panels[0].language, "fewer items", 1.0, "")],
        schema=health.SCHEMA,
        orient="row",
    )
    kept = health.healthy_rows(study.transfer, found)
    assert kept.height == study.transfer.height - study.transfer.height // len(study.panels)
    assert kept.columns == study.transfer.columns
