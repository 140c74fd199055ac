"""Power: against statsmodels for one test, and against whole simulated studies for a family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.frames import HARM_PP
from analysis.inference.cells import cells
from analysis.inference.claims import q_values
from analysis.inference.items import grid
from bench.calibration.worlds import World, draw
from study.power import Plan, items_needed, power, seeds_needed, smallest_harm, standard_error


def test_one_cell_equals_statsmodels() -> None:
    from statsmodels.stats.power import TTestPower

    for items, harm in ((50, -8.0), (200, -5.0), (400, -3.0)):
        plan = Plan(items, 1, discordance=0.2)
        size = harm * items / (items + 2) / (standard_error(plan, harm) * np.sqrt(items + 2))
        expected = TTestPower().power(size, items + 2, 0.05, alternative="smaller")
        assert power(plan, harm) == pytest.approx(expected, abs=0.02)


def test_a_family_equals_simulated_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of 144 cells is harmed by 8 points."""
    monkeypatch.setattr(
        "bench.calibration.worlds.effects", lambda world, rng: np.where(rng.random((12, 12)) < 0.25, -0.08, 0.0)
    )
    for items, seeds, sd in ((400, 1, 0.0), (400, 3, 0.03)):
        world = World("", items=(items,), seeds=seeds, seed_sd=sd, discordance=(0.2, 0.2), base=(6, 6))
        called = []
        for number in range(12):
            study = draw(world, number)
            found = cells(grid(study.columns[0], study.source[0], sum(world.sizes)), HARM_PP)
            truth = (study.of_source if seeds > 1 else study.of_adapter)[0]
            called.append((q_values(found.worse) <= 0.05)[truth < -4].mean())
        plan = Plan(items, seeds, 0.2, agreement=0.5, seed_sd=100 * sd, n_sources=12, n_cells=144, harmed=0.25)
        assert power(plan, -8.0) == pytest.approx(np.mean(called), abs=0.08)


def test_what_is_needed_is_just_enough() -> None:
    plan = Plan(100, 1, 0.2, n_cells=200)
    n = items_needed(plan, -5.0)
    assert n is not None
    assert power(replace(plan, n_items=n), -5.0) >= 0.8 > power(replace(plan, n_items=n - 1), -5.0)
    noisy = replace(plan, n_items=2000, n_seeds=2, seed_sd=5.0)
    k = seeds_needed(noisy, -5.0)
    assert k is not None
    assert power(replace(noisy, n_seeds=k), -5.0) >= 0.8 > power(replace(noisy, n_seeds=k - 1), -5.0)


def test_no_number_of_items_makes_up_for_seeds() -> None:
    assert items_needed(Plan(100, 2, 0.2, seed_sd=8.0, n_cells=200), -1.0) is None


def test_smallest_harm_is_seen_and_grows_with_the_family() -> None:
    plan = Plan(400, 1, 0.2)
    assert power(plan, smallest_harm(plan)) == pytest.approx(0.8, abs=0.01)
    assert smallest_harm(replace(plan, n_cells=2000)) < smallest_harm(plan) < 0
