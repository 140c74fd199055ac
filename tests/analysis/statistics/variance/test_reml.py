"""Restricted maximum likelihood against lme4's published figures, differences and the dense likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from analysis.statistics.variance import reml

# lme4's Penicillin data (Davies and Goldsmith 1972): diameter, mm, of 24 plates (rows) × 6 samples (columns)
PENICILLIN = """27 23 26 23 23 21, 27 23 26 23 23 21, 25 21 25 24 24 20, 26 23 25 23 23 20, 25 22 26 22 23 20,
24 22 25 23 22 19, 24 20 23 21 22 19, 26 22 26 24 24 21, 24 21 24 22 22 20, 24 21 24 23 22 19, 26 23 26 24 24 21,
25 22 26 24 24 20, 26 24 26 24 25 22, 26 23 26 23 23 20, 26 23 25 24 24 22, 25 22 25 23 23 20, 25 21 24 23 23 20,
25 22 24 23 23 19, 24 21 23 21 21 19, 26 23 26 24 24 21, 25 21 24 22 22 18, 25 22 25 22 22 20, 24 21 24 22 24 19,
24 21 24 22 21 18"""


def penicillin() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array([[float(v) for v in row.split()] for row in PENICILLIN.split(",")])
    plate, sample = np.meshgrid(np.arange(24), np.arange(6), indexing="ij")
    return table.ravel(), plate.ravel(), sample.ravel()


def test_reml_equals_lme4_on_penicillin() -> None:
    """lme4: REML criterion 330.8606; sd 0.8467 (plate), 1.9316 (sample), 0.5499 (residual); mean 22.9722."""
    y, plate, sample = penicillin()
    fit = reml.fit(reml.blocks([plate, sample]), y, 2)
    assert fit.criterion == pytest.approx(330.8606, abs=5e-5)
    np.testing.assert_allclose(np.sqrt([*fit.components, fit.residual]), [0.8467, 1.9316, 0.5499], atol=6e-5)
    assert fit.mean == pytest.approx(22.9722, abs=5e-5)


def test_reml_gradient_equals_differences_on_an_incomplete_grid() -> None:
    y, plate, sample = penicillin()
    kept = np.random.default_rng(3).random(len(y)) < 0.6
    for group in (None, plate[kept] % 3):
        data = reml.sums(reml.blocks([plate[kept], sample[kept]], group), y[kept])
        at = np.array([0.4, 2.0])
        gradient = reml.criterion(data, at)[1]
        for k in range(2):
            step = np.eye(2)[k] * 1e-5
            rise = reml.criterion(data, at + step)[0] - reml.criterion(data, at - step)[0]
            assert gradient[k] == pytest.approx(rise / 2e-5, rel=1e-4)


def dense_criterion(y: np.ndarray, factors: list[np.ndarray], variances: np.ndarray, residual: float) -> float:
    """−2 × REML log-likelihood with the full n × n covariance."""
    n = len(y)
    v = residual * np.eye(n)
    for codes, value in zip(factors, variances, strict=True):
        v += value * (codes[:, None] == codes[None, :])
    inverse, one = np.linalg.inv(v), np.ones(n)
    mean = (one @ inverse @ y) / (one @ inverse @ one)
    rest = y - mean
    logs = np.linalg.slogdet(v)[1] + np.log(one @ inverse @ one) + (n - 1) * np.log(2 * np.pi)
    return float(logs + rest @ inverse @ rest)


def test_reml_criterion_equals_the_dense_likelihood() -> None:
    y, plate, sample = penicillin()
    kept = np.random.default_rng(5).random(len(y)) < 0.7
    y, plate, sample = y[kept], plate[kept], sample[kept]
    fit = reml.fit(reml.blocks([plate, sample]), y, 2)
    assert fit.criterion == pytest.approx(dense_criterion(y, [plate, sample], fit.components, fit.residual))
    group = plate % 4
    nested = reml.fit(reml.blocks([group, sample], group), y, 2)
    within = group * 100 + sample
    assert nested.criterion == pytest.approx(dense_criterion(y, [group, within], nested.components, nested.residual))


def test_reml_recovers_simulated_components() -> None:
    rng = np.random.default_rng(0)
    model, source, target = (codes.ravel() for codes in np.meshgrid(range(8), range(15), range(15), indexing="ij"))
    kept = rng.random(len(model)) < 0.7
    factors, truth = [codes[kept] for codes in (model, source, target)], np.array([0.5, 1.0, 2.0])
    parts = reml.blocks(factors)
    at = reml.Fit(truth, 1.5, 1.0, 0.0)
    start = np.full(3, 0.5)
    with threadpool_limits(1):
        fits = [reml.fit(parts, reml.simulate(parts, at, int(kept.sum()), rng), 3, start) for _ in range(60)]
    found = np.array([[*fit.components, fit.residual] for fit in fits])
    error = found.std(axis=0, ddof=1) / np.sqrt(len(fits))
    assert (np.abs(found.mean(axis=0) - [*truth, 1.5]) < 3.5 * error).all()
