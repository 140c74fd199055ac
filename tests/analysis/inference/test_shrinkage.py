"""Expected values after selection: against the conditional normal, and unbiased for the source that comes first."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.inference.items import Column, grid
from analysis.inference.noise import Noise, averaged, noise
from analysis.inference.seeds import SeedSpread
from analysis.inference.shrinkage import Measured, _design, _fit, _posterior, expected, measured
from bench.calibration.measures import analyse, of_advice
from bench.calibration.worlds import World, draw

RNG = np.random.default_rng(5)
NO_SEEDS = SeedSpread(False, 0.0, np.zeros(4), np.zeros(4), 0.0, 0.0, np.ones(4), np.ones(4))


def some(n: int = 6) -> Measured:
    delta = RNG.normal(0, 3, (n, n))
    delta[1, 2] = np.nan
    group = (np.arange(n)[:, None] % 2 != np.arange(n) % 2).astype(np.int64)
    noise = Noise(RNG.uniform(1, 3, (n, n)), np.full((n, n), 2.0), np.full((n, n), 1.0))
    return measured(delta, group, noise)


def test_posterior_is_the_conditional_normal() -> None:
    """By dense covariances, the mean estimated by generalised least squares."""
    seen = some()
    sds = np.array([1.0, 2.0, 1.5, 0.7])
    got_mean, got_variance = _posterior(seen, _design(seen), _fit(seen, _design(seen), sds))
    same = {name: getattr(seen, name)[:, None] == getattr(seen, name) for name in ("source", "target", "group")}
    signal = same["source"] * 1.0 + same["target"] * 4.0 + np.eye(len(seen.delta)) * 2.25 + same["group"] * 0.49
    noise = same["source"] * 1.0 + same["target"] * 2.0 + np.diag(seen.own)
    inverse = np.linalg.inv(signal + noise)
    mean = inverse.sum(axis=0) @ seen.delta / inverse.sum()
    assert got_mean == pytest.approx(mean + signal @ inverse @ (seen.delta - mean), abs=1e-3)
    of_mean = (1 - signal @ inverse.sum(axis=0)) ** 2 / inverse.sum()  # the mean is estimated, too
    assert got_variance == pytest.approx(np.diag(signal - signal @ inverse @ signal) + of_mean, abs=1e-3)


def test_more_noise_draws_more_in() -> None:
    n = 8
    delta, group = RNG.normal(0, 5, (n, n)), np.zeros((n, n), np.int64)
    spreads = [
        expected(measured(delta, group, Noise(np.full((n, n), size), np.zeros((n, n)), np.zeros((n, n))))).mean.std()
        for size in (0.1, 25.0, 400.0)
    ]
    assert spreads[0] > spreads[1] > spreads[2]
    assert spreads[0] == pytest.approx(delta.std(), rel=0.05)


def test_what_targets_share_is_moved_towards_their_average() -> None:
    """Against covariances of the sources' items: at 20 items the average counts 60 to 19, at 200 items 60 to 199."""
    study = draw(World("", "gains", tasks=2, languages=2, items=(20, 200)), 7)
    found = noise(grid(study.columns[0], study.source[0], 220), NO_SEEDS)
    own = []
    for column in study.columns[0]:
        among = np.cov(column.difference.astype(float))
        own.append((among.sum() - np.trace(among)) / 12)
    for t, n in enumerate((20, 20, 200, 200)):
        wanted = (60 * np.mean(own) + (n - 1) * own[t]) / (60 + n - 1) / n
        assert found.shared[:, t] == pytest.approx(np.full(4, wanted), rel=1e-3)


def test_what_translations_of_the_same_items_share_is_an_error_of_the_source() -> None:
    """Against covariances, item by item, of two languages' differences beyond what all sources have in common."""
    rng, n = np.random.default_rng(3), 300
    same, own = rng.normal(size=(6, 1, n)), rng.normal(size=(6, 6, n))
    moved = 40 * (np.sqrt(0.9) * same + np.sqrt(0.1) * own + rng.normal(size=(1, 6, n)))  # source, target, item

    def seen(start: int) -> np.ndarray:
        items = [np.arange(n) + start * t for t in range(6)]
        columns = [Column(moved[:, t].astype(np.float32), np.arange(6), items[t], t * (start > 0)) for t in range(6)]
        none, one = np.zeros(6), np.ones(6)
        made = grid(columns, np.arange(6), n + 5 * start)
        return np.asarray(noise(made, SeedSpread(False, 0.0, none, none, 0.0, 0.0, one, one)).seeds)

    rest = moved - moved.mean(axis=0)
    rest -= rest.mean(axis=2, keepdims=True)
    among = np.einsum("sti,sui->tu", rest, rest) / n**2 / 5
    assert seen(0) == pytest.approx(np.full((6, 6), among[~np.eye(6, dtype=bool)].mean()), rel=0.05)
    assert seen(n).max() < 0.1 * seen(0).max()  # six tasks


def test_models_are_averaged_over_those_that_have_the_cell() -> None:
    one, two = np.array([[1.0, 2.0]]), np.array([[3.0, np.nan]])
    noise = Noise(np.array([[4.0, 4.0]]), np.zeros((1, 2)), np.zeros((1, 2)))
    mean, error = averaged([one, two], [noise, noise])
    assert mean.tolist() == [[2.0, 2.0]]
    assert error.own.tolist() == [[2.0, 4.0]]


@pytest.mark.parametrize("effects", ["null", "mixed"])
def test_the_source_that_comes_first_is_not_flattered(effects: str) -> None:
    found = [of_advice(analyse(draw(World("", effects, column=0.2, source=0.1), number))) for number in range(16)]
    bias, raw = (np.array([one[name] for one in found]) for name in ("top bias", "raw bias"))
    assert abs(bias.mean()) < 0.5 + 2 * bias.std() / 4
    assert raw.mean() > 2


def test_the_same_answer_every_time() -> None:
    seen = some()
    assert (expected(seen).mean == expected(seen).mean).all()


def test_a_harm_is_as_likely_as_it_is_frequent_as_far_as_errors_allow() -> None:
    """A third of effects are losses of six points, the others none, with errors of four: tails of normals say .64."""
    rng, n, said, tail, true = np.random.default_rng(11), 12, [], [], []
    for _ in range(10):
        effects = np.where(rng.random((n, n)) < 1 / 3, -6.0, 0.0)
        own = Noise(np.full((n, n), 16.0), np.zeros((n, n)), np.zeros((n, n)))
        found = expected(measured(effects + 4 * rng.normal(size=(n, n)), np.zeros((n, n), np.int64), own))
        said.append(found.harmed)
        tail.append(stats.norm.cdf((-1 - found.mean) / found.sd))
        true.append(effects.ravel() <= -1)
    chance, harm = np.concatenate(said), np.concatenate(true)
    assert chance.mean() - harm.mean() == pytest.approx(0.0, abs=0.13)
    assert np.mean(tail) - harm.mean() > 0.25
    rare, likely = chance < 0.2, chance > 0.8
    assert harm[rare].mean() == pytest.approx(chance[rare].mean(), abs=0.1)
    assert harm[likely].mean() > 0.5


def test_a_loss_that_counts_from_further_on_is_less_likely() -> None:
    delta = 5 * np.random.default_rng(2).normal(size=(6, 6))
    seen = measured(delta, np.zeros((6, 6), np.int64), Noise(np.full((6, 6), 4.0), np.zeros((6, 6)), np.zeros((6, 6))))
    near, far = expected(seen, -1.0), expected(seen, np.repeat([-1.0, -4.0], 18))
    assert far.harmed[:18] == pytest.approx(near.harmed[:18], abs=0.05)
    assert (far.harmed[18:] < near.harmed[18:] + 1e-9).all()
    assert far.mean == pytest.approx(near.mean)
