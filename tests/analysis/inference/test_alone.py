"""Levels that stand alone are told by Grubbs' test, one by one, and by chance as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.inference.alone import ALONE, alone


def test_one_that_is_far_from_the_others_stands_alone_at_its_distance() -> None:
    level = np.repeat(np.arange(6), 4)
    means = np.array([0.1, -0.2, 0.0, -30.0, 0.3, 4.0])
    found = alone(level, means[level])
    others = means[[0, 1, 2, 4]].mean()
    assert found[[0, 1, 2, 4]].tolist() == [0.0] * 4
    assert found[5] == pytest.approx((4 - others) ** 2)  # the last that was found is beside those alone
    assert found[3] == pytest.approx((-30 - means[[0, 1, 2, 4, 5]].mean()) ** 2)
    assert alone(np.array([0, 0, 1, 2]), np.array([1.0, 1.0, 5.0, -90.0])).tolist() == [0.0] * 3  # too few to tell


def test_levels_that_are_alike_are_rarely_told_apart() -> None:
    rng = np.random.default_rng(3)
    told = [bool(alone(np.arange(12), rng.normal(size=12)).any()) for _ in range(2_000)]
    assert np.mean(told) == pytest.approx(ALONE, abs=0.015)


def test_one_that_is_known_to_err_more_must_be_further() -> None:
    """A source whose seeds differ by far more than the others' was believed to be the best, or the worst."""
    means = np.array([0.1, -0.2, 0.0, 0.2, -0.1, 6.0])
    (far,) = alone(np.arange(6), means)[5:]
    errors = np.array([0.01, 0.01, 0.01, 0.01, 0.01, 9.0])
    assert far > 30
    assert alone(np.arange(6), means, errors).tolist() == [0.0] * 6
    errors[5] = 1.0
    assert alone(np.arange(6), means, errors)[5] == pytest.approx(far - 1)
    assert alone(np.arange(6), means, np.full(6, 9.0))[5] == pytest.approx(far - 9)  # all err as much
