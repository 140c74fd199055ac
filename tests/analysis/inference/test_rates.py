"""The noise floor against sign flips, and the lower bound on true harm against a plain loop and a known truth."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.frames import HARM_PP
from analysis.inference.cells import cells
from analysis.inference.items import grid
from analysis.inference.rates import bounding, lower_bound, noise_floor, null_scores
from bench.calibration.measures import analyse, of_rates
from bench.calibration.worlds import World, draw


@pytest.mark.parametrize(("items", "seeds"), [(20, 1), (100, 1), (400, 1), (100, 3)])
def test_floor_is_what_flipped_signs_print(items: int, seeds: int) -> None:
    """Were Δ 0, each item's mean over seeds would be as likely the other way round."""
    world = World("", "null", items=(items,), seeds=seeds)
    rng, flipped, floors = np.random.default_rng(0), [], []
    for number in range(6):
        study = draw(world, number)
        made = grid(study.columns[0], study.source[0], sum(world.sizes))
        floors.append(np.nanmean(noise_floor(made, cells(made, HARM_PP).seeds, HARM_PP)))
        for column in study.columns[0]:
            x = column.difference.reshape(-1, seeds, items).mean(axis=1)
            signs = rng.choice([-1.0, 1.0], size=(50, *x.shape))
            flipped.append(((signs * x).mean(axis=2).round(9) <= -1).mean())
    assert np.mean(floors) == pytest.approx(np.mean(flipped), abs=0.03)


def test_lower_bound_by_a_plain_loop() -> None:
    p = np.sort(np.random.default_rng(0).random(200) ** 2)
    n, beta = 200, 0.2
    loop = [(np.mean(p <= t) - t - beta * np.sqrt(t * (1 - t))) / (1 - t) for t in np.clip(p[p <= 0.5], 1 / n, 0.5)]
    assert lower_bound(p, beta) == pytest.approx(max(*loop, 0.0))
    assert lower_bound(np.append(p, np.nan), beta) == pytest.approx(lower_bound(p, beta))


def test_beta_is_the_percentile_of_the_excess() -> None:
    scores = np.random.default_rng(0).normal(size=(300, 400)).astype(np.float32)
    from scipy.stats import norm

    many = []
    for column in scores.T:
        p = np.sort(norm.cdf(column))
        at = [(np.mean(p <= x) - t) / np.sqrt(t * (1 - t)) for x in p if x <= 0.5 for t in [max(x, 1 / 300)]]
        many.append(max(*at, 0.0))
    assert bounding(scores) == pytest.approx(np.quantile(many, 0.95), rel=1e-5)


def test_null_scores_are_standard_and_clumped_by_column() -> None:
    world = World("", items=(100,), column=0.8, source=0.1)
    study = draw(world, 0)
    made = grid(study.columns[0], study.source[0], sum(world.sizes))
    noise = np.random.default_rng(0).standard_normal((made.n_clusters, 4000)).astype(np.float32)
    scores = null_scores(made, cells(made, HARM_PP).seeds, noise, np.random.default_rng(1))
    assert scores.std(axis=2) == pytest.approx(1, abs=0.08)
    among = np.corrcoef(scores[:, 0])
    assert among[~np.eye(len(among), dtype=bool)].mean() > 0.3


def test_bound_holds_where_every_cell_is_just_short_of_harm() -> None:
    """Independent p-values would have it wrong in a third of such studies."""
    world = World("", "at harm", seeds=3, items=(400,), column=0.5)
    wrong = [of_rates(analyse(draw(world, number)))["bound wrong"] for number in range(40)]
    assert np.mean(wrong) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 40)


def test_bound_sees_much_harm() -> None:
    world = World("", "mixed", items=(400,), seeds=3)
    found = of_rates(analyse(draw(world, 0)))
    assert 0.03 < found["bound"] <= found["true"]
