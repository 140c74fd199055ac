"""Additivity against planted truths, its statistics against scipy, and geometry beside it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.frames import NotComputable
from analysis.inference.agreement import agreement, ranks, told
from analysis.reading.study import Study
from analysis.statistics.combinations.additivity import additivity
from analysis.statistics.combinations.geometry import geometry
from tests.support.combined import Mix, World, normal_effects, study_of

CELLS = World(normal_effects()).cells


def study(adds: float) -> Study:
    """Sums and differences of every two sources, of which so much adds up."""
    mixes = [
        Mix(f"{sign}{i}", {one: 1.0, other: sign}, method="sum", adds=adds)
        for i, (one, other) in enumerate(combinations(CELLS, 2))
        for sign in (1.0, -0.5)
    ]
    return study_of(World(normal_effects(0.06), mixes, items=1000, seeds=(1, 2)))


@pytest.fixture(scope="module")
def additive() -> Study:
    return study(1.0)


def test_what_adds_up_has_slope_one(additive: Study) -> None:
    row = additivity(additive).row(by_predicate=pl.col("regime") == "all", named=True)
    assert row["n"] == 30 * 2 * 6
    assert row["pearson"] > 0.95
    assert row["pearson_clean"] > 0.97
    assert row["slope_low"] < 1 < row["slope_high"]
    assert row["slope"] == pytest.approx(1, abs=0.05)
    assert row["rmse_clean"] < row["rmse"] / 2  # pp: most of it is noise
    assert row["pearson_low"] < row["pearson"] < row["pearson_high"] <= 1


def test_an_interaction_is_found() -> None:
    row = additivity(study(0.4)).row(by_predicate=pl.col("regime") == "all", named=True)
    assert row["slope_high"] < 0.6
    assert row["slope"] == pytest.approx(0.4, abs=0.08)
    assert row["rmse_clean_low"] > 2


def test_regimes_are_those_of_all_parts_together(additive: Study) -> None:
    table = additivity(additive)
    counts = dict(table.select("regime", "n").iter_rows())
    assert counts["all"] == sum(n for name, n in counts.items() if name != "all")
    assert counts["MT-ML"] == 30 * 2 * 2  # the two cells that each was made of


@pytest.mark.parametrize("method", ["ties", "arrow", "dare_ties (searched)"])
def test_what_is_no_sum_is_no_point(method: str) -> None:
    parts = {CELLS[0]: 1.0, CELLS[1]: 1.0}
    some = [Mix("other", parts, method=method), Mix("sum", parts, adds=0.5)]
    assert set(additivity(study_of(World(normal_effects(), some)))["method"]) == {"sum"}


def test_a_part_alone_is_no_point() -> None:
    alone = study_of(World(normal_effects(), [Mix("one", {CELLS[0]: 1.0})]))
    with pytest.raises(NotComputable, match="all of its parts"):
        additivity(alone)
    with pytest.raises(NotComputable, match="puts no adapters together"):
        additivity(study_of(World(normal_effects())))


def test_statistics_are_those_of_scipy_with_points_repeated() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40)).round(1)
    y += x
    times = rng.integers(0, 3, 40)
    found = agreement([x[:, None]] * 3, [y[:, None]] * 3, times[:, None].astype(float))
    many = [np.repeat(one, times) for one in (x, y)]
    assert found["pearson"][0] == pytest.approx(stats.pearsonr(*many)[0])
    assert found["spearman"][0] == pytest.approx(stats.spearmanr(*many)[0])
    assert found["slope"][0] == pytest.approx(stats.linregress(*many).slope)
    assert found["rmse"][0] == found["rmse_clean"][0] == pytest.approx(np.sqrt(((many[1] - many[0]) ** 2).mean()))
    np.testing.assert_allclose(ranks(x[:, None], np.ones((40, 1)))[:, 0], stats.rankdata(x) - 0.5)


def test_geometry_stands_beside_what_did_not_add_up() -> None:
    """Parts whose cosine is larger add up better here: the correlation with the residual is negative."""
    mixes = [Mix(f"m{i}", {CELLS[0]: 1.0, CELLS[i + 1]: 1.0}, adds=adds) for i, adds in enumerate((0.1, 0.4, 0.7, 1.0))]
    made = study_of(World(normal_effects(0.1), mixes, items=1000))
    table = geometry(made)
    assert table.height == 4
    assert table["cosine"].to_list() == pytest.approx([0.01, 0.04, 0.07, 0.1])
    assert table["n_seeds"].to_list() == [2] * 4
    assert table["part"].to_list() == ["a/de"] * 4
    assert set(table["with_cosine"]) == {table["with_cosine"][0]}
    assert table["with_cosine"][0] < -0.7
    assert table["with_sign_conflicts"].null_count() == 4  # all alike


def test_where_all_adds_up_the_interval_of_what_is_left_holds_nothing() -> None:
    """Two halves whose errors are independent: their product is 0 on average, and its root as often below as above."""
    rng = np.random.default_rng(11)
    held = []
    for _ in range(60):
        true = rng.normal(0, 4, (30, 1))
        own = [true + rng.normal(0, 1, (30, 1)) for _ in range(2)]
        drawn = [side + np.concatenate([np.zeros((30, 1)), rng.normal(0, 1, (30, 60))], axis=1) for side in own]
        measured = [(drawn[0] + drawn[1]) / 2, *drawn]
        found = told(agreement([np.repeat(true, 61, axis=1)] * 3, measured, np.ones((30, 61))), 30)
        assert found["rmse_clean"] >= 0
        held.append(found["rmse_clean_low"] == 0)
    assert np.mean(held) > 0.9


def test_intervals_over_four_targets_hold_the_truth() -> None:
    """Each target has a level of its own in both: draws of four of them vary too little, and held .87."""
    rng = np.random.default_rng(13)
    held, n = [], 4
    for _ in range(200):
        predicted = np.repeat(rng.normal(0, 3, (n, 1)), 8, axis=0) + rng.normal(0, 1, (8 * n, 1))
        measured = predicted + np.repeat(rng.normal(0, 2, (n, 1)), 8, axis=0)
        sides = ([np.repeat(side, 201, axis=1)] * 3 for side in (predicted, measured))
        weights = np.ones((8 * n, 201))
        weights[:, 1:] = rng.multinomial(n, np.full(n, 1 / n), 200).T.repeat(8, axis=0)
        found = told(agreement(*sides, weights), n)
        held.append(found["slope_low"] <= 1 <= found["slope_high"])
    assert np.mean(held) >= 0.93
    assert np.isnan(told(agreement(*([side] * 3 for side in (predicted, measured)), weights[:, :1]), 1)["slope_low"])
