"""The seeds' own variance: unbiased, pooled, and with the degrees of freedom that its spread over sources leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.frames import HARM_PP
from analysis.inference.cells import cells
from analysis.inference.items import Column, Grid, grid
from analysis.inference.means import means
from analysis.inference.seeds import Added, at_cells, joined, n_seeds, seed_draws, seed_spread
from bench.calibration.worlds import Study, World, draw


def drawn(world: World, seed: int = 0) -> Grid:
    study = draw(world, seed)
    return grid(study.columns[0], study.source[0], sum(world.sizes))


def test_a_cell_alone_is_the_two_way_analysis_of_variance() -> None:
    """s² − σ²_e / N, averaged over targets and then over sources."""
    world = World("", seeds=3, seed_sd=0.05, tasks=1, languages=4, items=(90,))
    study = draw(world, 3)
    made = grid(study.columns[0], study.source[0], 90)
    per_source = []
    for source in range(4):
        of_targets = []
        for column in study.columns[0]:
            d = column.difference[3 * source : 3 * source + 3].astype(float)
            rest = d - d.mean(axis=0) - d.mean(axis=1, keepdims=True) + d.mean()
            of_targets.append(d.mean(axis=1).var(ddof=1) - (rest**2).sum() / (2 * 89) / 90)
        per_source.append(np.mean(of_targets))
    assert seed_spread(made).pooled == pytest.approx(max(np.mean(per_source), 0), rel=1e-4)


def test_known_variances_and_covariances_are_found() -> None:
    world = World("", seeds=3, seed_sd=0.03, seed_shared=0.6, tasks=3, languages=4, items=(200,))
    found = [seed_spread(drawn(world, number)) for number in range(25)]
    assert np.mean([one.pooled for one in found]) == pytest.approx(9, rel=0.2)
    assert np.mean([(one.near, one.far) for one in found], axis=0) == pytest.approx([0.6, 0.6], abs=0.1)


def test_with_one_seed_nothing_is_known() -> None:
    spread = seed_spread(drawn(World("", seeds=1)))
    assert not spread.known
    assert (spread.each == 0).all()


def test_no_spread_between_seeds_is_found_where_there_is_none() -> None:
    found = [seed_spread(drawn(World("", seeds=3), number)).pooled for number in range(25)]
    assert np.mean(found) < 0.6


def test_a_source_with_one_seed_is_given_the_variance_of_the_others() -> None:
    world = World("", seeds=3, seed_sd=0.05, tasks=1, languages=4, items=(200,), missing=0.0)
    study = draw(world, 1)
    kept = np.array([0, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    columns = [type(c)(c.difference[kept], np.arange(len(kept)), c.cluster, c.task) for c in study.columns[0]]
    made = grid(columns, study.source[0][kept], 200)
    spread = seed_spread(made)
    variance = at_cells(spread, made.n_seeds).variance
    assert made.n_seeds[0, 0] == 1
    assert variance[0, 0] == pytest.approx(spread.pooled, rel=1e-6)
    assert variance[0, 0] > variance[1, 0] > 0


def test_few_sources_leave_few_degrees_of_freedom() -> None:
    def median_df(tasks: int, languages: int) -> float:
        """Over some draws: one alone may say little of the seeds, whatever there is of sources."""
        world = World("", seeds=2, seed_sd=0.06, tasks=tasks, languages=languages, items=(2000,))
        return float(np.median([np.nanmedian(cells(drawn(world, seed), HARM_PP).df) for seed in range(5)]))

    assert median_df(1, 2) < 10 < median_df(4, 5)


def test_the_variance_of_a_mean_over_targets_has_the_seeds_degrees_of_freedom() -> None:
    """Of one source whose seeds differ alike on all targets, and by far more than items make them."""
    for k in (2, 3):
        world = World("", seeds=k, seed_sd=0.1, seed_shared=1.0, items=(2000,))
        made = grid(*of_sources(draw(world, 4), 1), 6000)
        (df,) = means(made, seed_spread(made), np.full((1, 1, 12), 1 / 12)).df
        assert k - 1 <= df < 1.2 * (k - 1)


def test_one_diverged_seed_takes_no_claim_from_other_sources() -> None:
    study = draw(World("", seeds=3, tasks=2, languages=4, items=(400,)), 1)
    before = cells(grid(study.columns[0], study.source[0], 800), HARM_PP)
    for column in study.columns[0]:
        column.difference[0] -= 40
    after = cells(grid(study.columns[0], study.source[0], 800), HARM_PP)
    assert after.seeds.df_mean[0] == 2
    assert after.se[1:] == pytest.approx(before.se[1:], rel=0.1)
    assert (after.df[1:] > 10).all()
    assert (after.low[0] < before.centre[0] - 13).all()


def of_sources(study: Study, n: int) -> tuple[list[Column], np.ndarray]:
    """Columns and numbers of the first sources of its model."""
    kept = study.source[0] < n
    return [replace(c, difference=c.difference[kept], adapter=c.adapter[kept]) for c in study.columns[0]], study.source[
        0
    ][kept]


def test_sources_that_differ_are_told_apart() -> None:
    world = World("", seeds=5, seed_sd=0.04, unequal=1.2, seed_shared=0.0, tasks=4, languages=5, items=(400,))
    spread = seed_spread(drawn(world, 2))
    assert spread.each.max() > 4 * np.median(spread.each)


def test_draws_have_the_covariance_that_was_found() -> None:
    made = drawn(World("", seeds=3, seed_sd=0.05, seed_shared=0.5, tasks=2, languages=2, items=(400,)), 5)
    spread = seed_spread(made)
    moved = seed_draws(made, spread, 20_000, np.random.default_rng(0))
    variance = at_cells(spread, made.n_seeds).variance
    assert moved.var(axis=2) == pytest.approx(variance, rel=0.06)
    together = np.corrcoef(moved[0])
    assert together[0, 2] == pytest.approx(spread.far, abs=0.05)
    assert abs(np.corrcoef(moved[0, 0], moved[1, 0])[0, 1]) < 0.03


def test_pairs_tell_how_many_seeds_there_are() -> None:
    assert [n_seeds(k * (k - 1) // 2) for k in (2, 3, 5)] == [2, 3, 5]


def test_an_interval_has_an_end_where_seeds_are_told_from_other_targets_alone() -> None:
    """No item changed on this one, many did on others, and the noise of these is in what is known of seeds."""
    quiet, seeds = np.array([0.008]), Added(np.array([0.09]), np.array([0.81]), np.array([6.0]))
    se, df = joined(quiet, 0.02 * quiet**2, seeds)
    assert stats.t.ppf(0.975, df[0]) * se[0] < 5
