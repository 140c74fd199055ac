"""Means of many cells and role scores: against item means, least squares of statsmodels, and t intervals of scipy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from analysis.frames import HARM_PP
from analysis.inference.additive import adjusted_weights, raw_weights
from analysis.inference.cells import cells
from analysis.inference.items import Column, grid
from analysis.inference.means import means, over_models, within_model
from analysis.inference.ranks import among_top, draws_over, draws_within
from analysis.inference.seeds import seed_spread
from bench.calibration.worlds import World, draw

WORLD = World("", "additive", tasks=1, languages=5, items=(60,), seeds=2, seed_sd=0.03)
N = 5


def rows() -> np.ndarray:
    return ~np.eye(N, dtype=bool)


def test_a_mean_over_columns_is_a_test_of_its_item_means() -> None:
    """Items that columns share are clusters, and a shared base counts in full."""
    study = draw(WORLD, 0)
    made = grid(study.columns[0], study.source[0], 60)
    x = np.mean([column.difference for column in study.columns[0]], axis=(0, 1))
    found = means(made, seed_spread(made), np.full((1, N, N), 1 / N**2))
    assert found.value[0] == pytest.approx(x.mean(), abs=1e-3)
    assert found.items[0] == pytest.approx(x.var(ddof=1) / 60, rel=1e-3)


def test_tasks_are_strata_with_items_of_their_own() -> None:
    """Of two tasks it is Welch's interval, for the sum of two means of unlike samples."""
    study = draw(World("", "additive", tasks=2, languages=1, items=(12, 40)), 3)
    made = grid(study.columns[0], study.source[0], 52)
    x, y = (column.difference[0].astype(float) for column in study.columns[0])
    weights = np.zeros((1, 2, 2))
    weights[0, 0] = 1.0
    found = within_model(means(made, seed_spread(made), weights))
    welch = stats.ttest_ind(x, -y, equal_var=False)
    plain = welch.confidence_interval(0.95)
    assert found.df[0] == pytest.approx(welch.df, rel=1e-3)
    assert (found.low[0], found.high[0]) == pytest.approx((plain.low, plain.high), rel=1e-3)


def test_a_mean_of_cells_that_never_changed_is_as_sure_as_one_of_them() -> None:
    """Its interval had the width 0: a hundred cells without a change proved that there never is one."""
    still = [Column(np.zeros((3, 50), np.float32), np.arange(3), np.arange(50)) for _ in range(4)]
    made = grid(still, np.arange(3), 50)
    one, every = np.zeros((1, 3, 4)), np.full((1, 3, 4), 1 / 12)
    one[0, 0, 0] = 1.0
    spread = seed_spread(made)
    found = [within_model(means(made, spread, weights)) for weights in (one, every)]
    single = cells(made, HARM_PP)
    for mean in found:
        assert mean.value[0] == 0.0
        assert (mean.low[0], mean.high[0]) == pytest.approx((single.low[0, 0], single.high[0, 0]), rel=1e-6)
    assert (single.high[0, 0], single.low[0, 0]) == (pytest.approx(5.4, abs=0.5), pytest.approx(-5.4, abs=0.5))
    over = over_models([means(made, spread, every)] * 3)
    assert 0 < over.high[0] == pytest.approx(-over.low[0])
    assert over.high[0] == pytest.approx(found[1].high[0])  # how many models an item moves nobody has seen


def test_what_still_cells_leave_in_doubt_goes_down_step_by_step() -> None:
    """One item of one cell that changed took all of the doubt of the other cells away at once."""
    columns = [Column(np.zeros((3, 50), np.float32), np.arange(3), np.arange(50)) for _ in range(4)]
    every, halves = np.full((1, 3, 4), 1 / 12), []
    pseudo = float(grid(columns, np.arange(3), 50).items[0, 0])
    for k, row in enumerate(range(0, 9)):
        if k:
            columns[0].difference[0, row] = 100.0 * (-1) ** k
        made = grid(columns, np.arange(3), 50)
        found = means(made, seed_spread(made), every)
        cells = 11 if k else 12
        assert found.pseudo[0] == pytest.approx(pseudo * (cells + cells * (cells - 1) / (1 + k)) / 144, rel=1e-6)
        assert (found.items - found.pseudo)[0] == pytest.approx(k * (100 / 50 / 12) ** 2, rel=0.1)
        halves.append(within_model(found).high[0] - found.value[0])
    assert all(0.6 < after / before < 1 for before, after in pairwise(halves))
    assert halves[-1] > 1.96 * (11 * pseudo) ** 0.5 / 12  # as if no item ever moved two of them
    for column in columns:
        column.difference[:, 10:13] = 100.0
    made = grid(columns, np.arange(3), 50)
    assert means(made, seed_spread(made), every).pseudo[0] == 0.0  # of cells that have all changed nothing is added


def test_a_cell_whose_items_all_changed_alike_is_not_certain() -> None:
    """The base was wrong on every item and the adapter right: no influence, and the interval was [100, 100]."""
    columns = [Column(np.full((2, 20), 100.0, np.float32), np.arange(2), np.arange(20)) for _ in range(2)]
    made = grid(columns, np.arange(2), 20)
    found = within_model(means(made, seed_spread(made), np.full((1, 2, 2), 0.25)))
    assert found.value[0] == 100.0
    assert found.low[0] < 90.0


def test_what_cancels_item_by_item_is_not_certain() -> None:
    """Two adapters that answer alike, one less the other: as unsure as of pseudo-items of that size."""
    columns = [Column(np.zeros((2, 50), np.float32), np.arange(2), np.arange(50)) for _ in range(2)]
    for column in columns:
        column.difference[:, :10] = 100.0
    made = grid(columns, np.arange(2), 50)
    weights = np.array([[[0.5, 0.5], [-0.5, -0.5]]])
    found = means(made, seed_spread(made), weights)
    assert found.value[0] == 0.0
    assert found.items[0] == pytest.approx(4 * 2 * 100**2 / 51 / 52)
    assert within_model(found).high[0] > 5.0


def test_raw_scores_are_means_of_their_rows() -> None:
    delta = np.random.default_rng(0).normal(size=(N, N))
    source = np.broadcast_to(np.arange(N)[:, None], (N, N))
    weights = raw_weights(rows(), source, N)
    plain = [delta[i][np.arange(N) != i].mean() for i in range(N)]
    assert (weights * delta).sum(axis=(1, 2)) == pytest.approx(plain)


def adjusted(delta: np.ndarray, kept: np.ndarray) -> np.ndarray:
    source = np.broadcast_to(np.arange(N)[:, None], (N, N))
    return (adjusted_weights(kept, source, source.T, N) * np.nan_to_num(delta)).sum(axis=(1, 2))


def test_adjusted_scores_are_those_of_least_squares() -> None:
    import pandas as pd
    import statsmodels.formula.api as formula

    rng = np.random.default_rng(4)
    delta, kept = rng.normal(size=(N, N)), rows()
    kept[0, 3] = kept[4, 1] = False
    i, j = np.nonzero(kept)
    fit = formula.ols("d ~ C(s) + C(t)", pd.DataFrame({"d": delta[kept], "s": i, "t": j})).fit()
    effect = np.array([0.0, *[fit.params[f"C(s)[T.{k}]"] for k in range(1, N)]])
    assert adjusted(delta, kept) == pytest.approx(effect - effect.mean() + delta[kept].mean())


def test_equal_donors_with_other_recipients_are_equal() -> None:
    """Raw means say they differ: each lacks itself among its recipients, and one misses the best two."""
    takes = np.array([0.0, 10.0, 20.0, 30.0, 40.0])
    delta, kept = np.broadcast_to(takes, (N, N)), rows()
    kept[1, 3:] = False
    source = np.broadcast_to(np.arange(N)[:, None], (N, N))
    raw = (raw_weights(kept, source, N) * delta).sum(axis=(1, 2))
    assert np.ptp(raw) > 5
    assert np.ptp(adjusted(delta, kept)) == pytest.approx(0, abs=1e-9)


def test_two_that_meet_only_each_other_cannot_be_adjusted() -> None:
    source = np.broadcast_to(np.arange(2)[:, None], (2, 2))
    assert not adjusted_weights(~np.eye(2, dtype=bool), source, source.T, 2).any()


def models(n: int, seed: int = 0) -> list:
    study = draw(World("", "additive", models=n, tasks=1, languages=5, items=(60,), between=0.5), seed)
    source = np.broadcast_to(np.arange(N)[:, None], (N, N))
    made = [grid(columns, numbers, 60) for columns, numbers in zip(study.columns, study.source, strict=True)]
    return [means(one, seed_spread(one), raw_weights(rows(), source, N)) for one in made]


def test_over_models_is_at_least_the_t_interval_of_their_values() -> None:
    several = models(3)
    values = np.array([one.value for one in several])
    found = over_models(several)
    plain = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.value == pytest.approx(values.mean(axis=0))
    assert (found.low <= plain.low + 1e-9).all()
    assert (found.high >= plain.high - 1e-9).all()
    assert (found.df == 2).all()


@pytest.mark.parametrize("rows", [([0, 0], [1, -1]), ([1, 0], [0, 1])])
def test_models_of_one_value_are_as_sure_as_their_items(rows: tuple[list[int], list[int]]) -> None:
    """Both Δ are 0, or both 1 pp, by chance: two equal numbers do not prove that no third differs."""
    several, spreads = [], []
    for turned in rows:
        difference = np.zeros((1, 100), np.float32)
        difference[0, 20 * len(several) : 20 * len(several) + 2] = np.array(turned) * 100.0
        made = grid([Column(difference, np.arange(1), np.arange(100))], np.arange(1), 100)
        several.append(means(made, seed_spread(made), np.ones((1, 1, 1))))
        spreads.append(several[-1].items[0])
    found = over_models(several)
    assert found.value[0] == pytest.approx(sum(rows[0]))
    assert found.se[0] == pytest.approx((sum(spreads) / 4) ** 0.5)
    half = stats.t.ppf(0.975, min(one.df[0] for one in several)) * found.se[0]
    assert (found.low[0], found.high[0]) == pytest.approx((found.value[0] - half, found.value[0] + half))
    drawn = draws_over(several, 8000, np.random.default_rng(0))
    assert drawn.std() == pytest.approx(found.se[0], rel=0.05)


def test_one_model_has_no_interval_over_models() -> None:
    assert np.isnan(over_models(models(1)).value).all()


def test_draws_spread_as_the_intervals_do() -> None:
    study = draw(WORLD, 1)
    made = grid(study.columns[0], study.source[0], 60)
    spread = seed_spread(made)
    source = np.broadcast_to(np.arange(N)[:, None], (N, N))
    weights = raw_weights(rows(), source, N)
    one = means(made, spread, weights)
    draws = draws_within(one, weights, (made, spread), 8000, np.random.default_rng(0))
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    found = within_model(one)
    assert high - low == pytest.approx(found.high - found.low, rel=0.2)
    several = models(4)
    low, high = np.quantile(draws_over(several, 8000, np.random.default_rng(0)), [0.025, 0.975], axis=1)
    found = over_models(several)
    assert high - low == pytest.approx(found.high - found.low, rel=0.2)


def test_draws_of_a_mean_that_nothing_moved_spread_as_its_interval_does() -> None:
    """Without a cluster to scale they were no numbers."""
    still = [Column(np.zeros((3, 50), np.float32), np.arange(3), np.arange(50)) for _ in range(4)]
    still[0].difference[0, :5] = 100.0  # of the first source alone
    made = grid(still, np.arange(3), 50)
    spread, weights = seed_spread(made), raw_weights(np.ones((3, 4), bool), np.arange(3)[:, None] + np.zeros(4, int), 3)
    one = means(made, spread, weights)
    draws = draws_within(one, weights, (made, spread), 8000, np.random.default_rng(0))
    assert np.isfinite(draws).all()
    assert draws.std(axis=1) == pytest.approx(np.sqrt(one.items), rel=0.05)


def test_top_three_only_where_more_than_three_are_ranked() -> None:
    draws = np.random.default_rng(0).normal(size=(3, 100))
    assert np.isnan(among_top(draws)).all()
    chance = among_top(np.vstack([draws, np.full((1, 100), 9.0)]))
    assert chance[3] == 1
    assert chance.sum() == pytest.approx(3)


def test_few_items_that_carry_a_mean_beside_many_are_counted_as_few() -> None:
    """Of one task in two languages, which share no items: with 8 items beside 400 it is Welch's interval."""
    rng = np.random.default_rng(8)
    few, many = (rng.choice([-100.0, 0.0, 100.0], (1, n)).astype(np.float32) for n in (8, 400))
    columns = [Column(few, np.arange(1), np.arange(8)), Column(many, np.arange(1), np.arange(8, 408))]
    made = grid(columns, np.arange(1), 408)
    found = within_model(means(made, seed_spread(made), np.full((1, 1, 2), 0.5)))
    welch = stats.ttest_ind(few[0], many[0], equal_var=False)
    assert welch.df < 9
    assert found.df[0] == pytest.approx(welch.df, abs=2)
