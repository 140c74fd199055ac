"""Draws of items against numpy and plain formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.reading.study import Study
from analysis.statistics import resample
from tests.support.transfers import first_rows


def test_interval_equals_numpy_quantiles() -> None:
    values = np.random.default_rng(0).normal(size=(5, 333)).astype(np.float32)
    low, high = resample.interval(values)
    np.testing.assert_allclose([low, high], np.quantile(values.astype(float), [0.025, 0.975], axis=1), rtol=1e-5)
    values[0, :7] = np.nan
    np.testing.assert_allclose(resample.interval(values)[0], np.nanquantile(values, 0.025, axis=1), rtol=1e-5)


def test_item_weights_are_multinomial() -> None:
    weights = resample.ItemDraws(300).weights("task", 20)
    assert weights.shape == (20, 300)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)
    assert weights.mean() == pytest.approx(1 / 20)
    assert (20 * weights).var() == pytest.approx(1 - 1 / 20, rel=0.1)


def test_missing_items_leave_their_unit_out_of_the_draws(study: Study) -> None:
    panel, _ = first_rows(study)
    norm = panel.norm.copy()
    norm[1, :5] = np.nan
    holes = replace(panel, norm=norm, correct=np.where(np.isnan(norm), np.nan, panel.correct))
    rows = resample.trained_rows(holes, study.units)
    assert rows is not None
    weights = resample.ItemDraws(50).weights("t", len(panel.docs))
    row = int(np.flatnonzero(np.isnan(rows.difference).any(axis=1))[0])
    here = ~np.isnan(rows.difference[row])
    expected = 100 * (rows.difference[row][here] @ weights[here]) / weights[here].sum(axis=0)
    np.testing.assert_allclose(rows.estimates(weights)[row], expected, rtol=1e-4, atol=1e-4)
