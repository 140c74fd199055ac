"""Metrics of all items together, in worlds without an effect: few seeds of few sources claim no more than 5 %."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.inference.draws import Drawn, Draws, drawn

OF_ITEMS = 1 / (1 / 99 + 1 / 39)  # degrees of freedom of a variance of 100 items that 40 draws tell


def world(rng: np.random.Generator, sources: int, seeds: int, seed_sd: float) -> Drawn:
    """Nothing but noise of seeds and of items on one target; the base's items are in every difference."""
    base, own = rng.normal(0, 0.3), rng.normal(0, 0.3, sources * seeds)
    value = rng.normal(0, seed_sd, sources * seeds) + own - base
    moved = rng.normal(0, 0.3, (sources * seeds, 40)) - rng.normal(0, 0.3, 40)
    column = Draws(value, value[:, None] + moved, np.arange(sources * seeds), 100)
    return drawn([column], np.repeat(np.arange(sources), seeds))


@pytest.mark.parametrize(("sources", "seeds"), [(1, 2), (1, 3), (3, 2)])
def test_few_seeds_that_vary_claim_what_chance_allows(sources: int, seeds: int) -> None:
    rng, wrong = np.random.default_rng([sources, seeds]), []
    for _ in range(300):
        found = world(rng, sources, seeds, 3.0)
        wrong.append(2 * stats.t.sf(abs(found.delta / found.se), found.df) <= 0.05)
    assert np.mean(wrong) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / np.size(wrong))


def test_many_sources_leave_the_items_their_degrees_of_freedom() -> None:
    found = world(np.random.default_rng(1), 40, 3, 0.0)
    assert np.median(found.df) > 0.5 * OF_ITEMS
    assert found.seeds_known


def test_one_seed_leaves_the_items_and_seeds_without_a_difference_add_nothing() -> None:
    one = world(np.random.default_rng(1), 3, 1, 0.0)
    assert one.df == pytest.approx(OF_ITEMS)
    assert not one.seeds_known
    draws = np.tile(np.random.default_rng(2).normal(0, 1, 40), (2, 1))
    same = drawn([Draws(np.zeros(2), draws, np.arange(2), 100)], np.zeros(2, np.int64))
    assert same.se[0, 0] == pytest.approx(draws[0].std(ddof=1))
    assert same.df[0, 0] == pytest.approx(OF_ITEMS)
