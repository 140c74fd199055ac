"""The shape of effects: against normal shrinkage, an EM in plain loops, and the prior that the effects came from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from analysis.inference import shape
from analysis.inference.shape import shaped


def seen(effects: np.ndarray, error: np.ndarray, seed: int = 0) -> np.ndarray:
    return effects + np.sqrt(error) * np.random.default_rng(seed).normal(size=len(effects))


def test_few_cells_are_shrunk_as_under_the_normal_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "NORMAL", 1e9)
    error = np.array([0.01, 1.0, 4.0, 25.0])
    mean, variance = shaped(np.array([3.0, -2.0, 4.0, 6.0]), error, np.array([2.0, 2.0]), np.ones(4)).moments()
    share = 4 / (4 + error)
    assert mean == pytest.approx(share * [3.0, -2.0, 4.0, 6.0], rel=0.02)
    assert variance == pytest.approx(share * error, rel=0.03)


def test_masses_are_those_of_a_plain_em(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "POINTS", 12)
    monkeypatch.setattr(shape, "NORMAL", 0.0)
    error = np.linspace(1, 3, 30)
    x = seen(np.repeat([0.0, 8.0], 15), error)
    got, _ = shaped(x, error, np.full(2, 15.0), np.ones(30)).moments()
    width, grid = 10.0, np.arange(-60.0, 65.0, 10.0)  # four times 15 either way
    start = np.array([np.exp(-(g**2) / 2 / (225 - width**2)) for g in grid])
    mass = start / start.sum()
    for _ in range(100):
        chances = []
        for value, e in zip(x, error, strict=True):
            one = np.array([m * norm.pdf(value, g, np.sqrt(e + width**2)) for m, g in zip(mass, grid, strict=True)])
            chances.append(one / one.sum())
        mass = np.mean(chances, axis=0)
    for i in (0, 12, 29):
        one = np.array([m * norm.pdf(x[i], g, np.sqrt(error[i] + width**2)) for m, g in zip(mass, grid, strict=True)])
        within = [g + width**2 / (width**2 + error[i]) * (x[i] - g) for g in grid]
        assert got[i] == pytest.approx(one @ within / one.sum(), rel=1e-3)


def test_rare_large_effects_are_not_drawn_in() -> None:
    """Nearly as good as knowing that a tenth of effects are 15 and the others 0; the normal prior is far from it."""
    rng = np.random.default_rng(1)
    effects, error = np.where(rng.random(400) < 0.1, 15.0, 0.0), rng.uniform(4, 30, 400)
    x, sd = seen(effects, error, 2), effects.std()
    one, none = 0.1 * norm.pdf(x, 15, np.sqrt(error)), 0.9 * norm.pdf(x, 0, np.sqrt(error))
    known, normal = 15 * one / (one + none), effects.mean() + sd**2 / (sd**2 + error) * (x - effects.mean())
    mean, _ = shaped(x - effects.mean(), error, np.array([sd]), np.ones(400)).moments()
    loss, best, linear = (((m - effects) ** 2).mean() for m in (mean + effects.mean(), known, normal))
    assert best <= loss < best + 0.3 * (linear - best)


def test_what_fitted_levels_took_with_them_is_made_good() -> None:
    """Residuals of fitted levels vary less, by 11 / 12 squared; normal effects are shrunk as a normal prior says."""
    rng, n, repeats = np.random.default_rng(3), 12, 40
    slopes = []
    for _ in range(repeats):
        x = 5 * rng.normal(size=(n, n)) + 6 * rng.normal(size=(n, n))
        rest = (x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean()).ravel()
        mean, _ = shaped(rest, np.full(n * n, 36.0), np.array([5.0]), np.full(n * n, (11 / 12) ** 2)).moments()
        slopes.append(rest @ mean / (rest @ rest))
    assert np.mean(slopes) == pytest.approx(25 / 61, abs=3 * np.std(slopes) / np.sqrt(repeats) + 0.01)
