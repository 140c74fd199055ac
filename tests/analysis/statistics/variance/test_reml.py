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
        data = reml.sums(reml.blocks([plate[kept], sample[kept]], group), np.stack([y[kept], y[kept] ** 2]))
        at = np.array([[0.4, 2.0], [1.5, 0.0]])
        found = reml.criterion(data, at).gradient
        for k in range(2):
            step = np.eye(2)[k] * 1e-5
            rise = reml.criterion(data, at + step).value - reml.criterion(data, at - step).value
            np.testing.assert_allclose(found[:, k], rise / 2e-5, rtol=1e-4)


def test_reml_expects_the_curvature_that_draws_have_on_average() -> None:
    """At the truth: second derivatives by differences of gradients, over data of the model itself."""
    rng = np.random.default_rng(2)
    a, b = (codes.ravel() for codes in np.meshgrid(range(6), range(7), indexing="ij"))
    for group in (None, a % 2):
        parts, truth = reml.blocks([a, b], group), np.array([0.7, 0.2])
        y = np.stack([reml.simulate(parts, reml.Fit(truth, 1.0, 0.0, 0.0), len(a), rng) for _ in range(4000)])
        data, at = reml.sums(parts, y), np.tile(truth, (len(y), 1))
        for k in range(2):
            step = np.eye(2)[k] * 1e-5
            bend = (reml.criterion(data, at + step).gradient - reml.criterion(data, at - step).gradient) / 2e-5
            error = bend.std(axis=0) / np.sqrt(len(y))
            assert (np.abs(bend.mean(axis=0) - reml.criterion(data, at).curvature[0, k]) < 4 * error).all()


@pytest.mark.parametrize("noise", [1e-3, 1.0])
def test_reml_of_many_draws_is_that_of_each_alone(noise: float) -> None:
    """Also of little residual, of no effect at all, and of factors whose optimum is at 0."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(4)
    a, b = (codes.ravel() for codes in np.meshgrid(range(5), range(8), indexing="ij"))
    parts = reml.blocks([a, b])
    truths = [np.array(truth) for truth in ((1.0, 0.5), (0.0, 0.5), (0.0, 0.0))]
    y = np.stack([reml.simulate(parts, reml.Fit(truth, noise, 2.0, 0.0), len(a), rng) for truth in truths * 4])
    for one, drawn in zip(reml.fits(parts, y, np.full((len(y), 2), 0.3)), y, strict=True):
        data = reml.sums(parts, drawn[None] - drawn.mean())

        def value(logs: np.ndarray, data: list[reml.Sums] = data) -> float:
            return float(reml.criterion(data, np.exp(logs)[None]).value[0])

        least = min(
            minimize(value, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4000}).fun
            for start in (np.full(2, -1.0), np.full(2, 8.0))
        )  # fmt: skip
        assert one.criterion == pytest.approx(least, abs=1e-5)
        assert min(one.components) >= 0


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
    with threadpool_limits(1):
        y = np.stack([reml.simulate(parts, at, int(kept.sum()), rng) for _ in range(60)])
        fits = reml.fits(parts, y, np.full((60, 3), 0.5))
    found = np.array([[*fit.components, fit.residual] for fit in fits])
    error = found.std(axis=0, ddof=1) / np.sqrt(len(fits))
    assert (np.abs(found.mean(axis=0) - [*truth, 1.5]) < 3.5 * error).all()
