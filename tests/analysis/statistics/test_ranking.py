"""Kendall's W against Friedman's statistic and the exact permutations."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.frames import NotComputable
from analysis.statistics import ranking
from tests.support.transfers import effects, grid


def test_kendall_w_equals_the_friedman_statistic() -> None:
    """χ²_F = m (n − 1) W, ties included (scipy.stats.friedmanchisquare)."""
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=(5, 7)), rng.integers(0, 3, (6, 8)).astype(float)):
        m, n = values.shape
        assert m * (n - 1) * ranking.concordance(values) == pytest.approx(stats.friedmanchisquare(*values.T).statistic)


def test_kendall_w_table() -> None:
    table = ranking.kendall_w(effects(0), permutations=200)
    donors = table.filter(pl.col("kind") == "language", pl.col("role") == "donor").row(0, named=True)
    assert donors["w"] > 0.3
    assert donors["p_value"] == pytest.approx(1 / 201)
    assert donors["n_models"] == 12
    noise = ranking.kendall_w(grid(models=8), permutations=200)
    assert noise["p_value"].max() > 0.05  # type: ignore[operator]
    with pytest.raises(NotComputable, match="two models"):
        ranking.kendall_w(grid(models=1))


def test_permutation_p_is_the_exact_share_for_two_raters() -> None:
    values = np.array([[1.0, 2, 3, 4], [1, 3, 2, 4]])
    every = [ranking.concordance(np.array([values[0], p])) for p in itertools.permutations(values[1])]
    exact = np.mean(np.array(every) >= ranking.concordance(values) - 1e-12)
    assert ranking.permutation_p(values, 4000, 1) == pytest.approx(exact, abs=0.02)
