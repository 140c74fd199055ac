"""The Mantel test against every reordering."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.statistics import mantel


def test_mantel_p_is_the_exact_share_of_reorderings() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 5, 5))
    off = ~np.eye(5, dtype=bool)
    observed = np.corrcoef(a[off], b[off])[0, 1]
    every = [np.corrcoef(a[off], b[np.ix_(p, p)][off])[0, 1] for p in itertools.permutations(range(5))]
    exact = np.mean(np.abs(every) >= abs(observed) - 1e-12)
    r, p, n = mantel.correlate(a, b, permutations=3000, seed=1)
    assert r == pytest.approx(observed)
    assert n == 20
    assert p == pytest.approx(exact, abs=0.03)
    assert np.isnan(mantel.correlate(a, np.ones((5, 5)))[0])


def test_reorderings_under_which_few_cells_meet_prove_nothing() -> None:
    """Three sources on three other targets: most reorderings leave nothing to compare."""
    rng, found = np.random.default_rng(0), []
    for _ in range(60):
        a, b = np.full((2, 6, 6), np.nan)
        a[:3, 3:], b[:3, 3:] = rng.normal(size=(2, 3, 3))
        with np.errstate(all="raise"):
            found.append(mantel.correlate(a, b, permutations=200)[1])
    assert np.mean(np.array(found) <= 0.05) <= 0.1
