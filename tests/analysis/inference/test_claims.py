"""Families of claims against scipy, plain loops, and a brute search over levels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.inference.claims import gated, q_values, simes

RNG = np.random.default_rng(1)


def test_q_values_equal_scipy_and_leave_out_what_is_not_there() -> None:
    p = RNG.random(60) ** 3
    p[:6] = 0.2
    np.testing.assert_allclose(q_values(p), stats.false_discovery_control(p))
    holes = np.where(np.arange(60) % 7 == 0, np.nan, p)
    there = ~np.isnan(holes)
    np.testing.assert_allclose(q_values(holes)[there], stats.false_discovery_control(holes[there]))
    assert np.isnan(q_values(holes)[~there]).all()


def test_simes_by_hand() -> None:
    p, group = np.array([0.01, 0.04, 0.9, 0.5, np.nan]), np.array([0, 0, 0, 1, 2])
    found = simes(p, group)
    assert found[:2] == pytest.approx([0.03, 0.5])
    assert np.isnan(found[2])


def called(p: np.ndarray, group: np.ndarray, level: float) -> np.ndarray:
    """Benjamini and Bogomolov's procedure at one level, step by step."""
    of_groups = np.array([stats.false_discovery_control(p[group == g]).min() for g in range(group.max() + 1)])
    selected = np.flatnonzero(stats.false_discovery_control(of_groups) <= level)
    cells = np.zeros(len(p), bool)
    for g in selected:
        within = stats.false_discovery_control(p[group == g])
        cells[group == g] = within <= level * len(selected) / len(of_groups)
    return cells


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1, 0.3])
def test_gated_cells_are_those_of_the_procedure(level: float) -> None:
    group = np.repeat(np.arange(12), 5)
    for number in range(30):
        p = np.random.default_rng(number).random(60) ** np.where(group < 4, 5, 1)
        np.testing.assert_array_equal(gated(p, group).cell_q <= level, called(p, group, level))
