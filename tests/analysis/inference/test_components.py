"""Variance without noise: against the analysis of variance, known truths, and the noiseless formulas in use before."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.inference.ceiling import antisymmetric_share, reliability, tau_ceiling
from analysis.inference.components import Doubles, components, components_without, shares
from analysis.inference.halves import halves, sides
from analysis.inference.items import Column
from bench.calibration.measures import analyse, in_shares, of_variance
from bench.calibration.worlds import World, draw

RNG = np.random.default_rng(2)
SOURCE, TARGET, PAIR = frozenset({"source"}), frozenset({"target"}), frozenset({"source", "target"})


def noiseless(values: np.ndarray) -> Doubles:
    """M × S × T as both halves."""
    whole = values[None, :, :, None, :].astype(np.float64)
    return Doubles(whole, whole, seeds=False)


def test_halves_are_disjoint_balanced_and_average_to_the_whole() -> None:
    task = np.repeat([0, 1], [10, 7])
    first = sides(task, splits=6)
    assert (first[:10].sum(axis=0) == 5).all()
    assert set(first[10:].sum(axis=0)) <= {3, 4}
    d = RNG.normal(size=(4, 10)).astype(np.float32)
    one, two = halves([Column(d, np.arange(4), np.arange(10))], 4, first)
    assert (one[:, :, 0] + two[:, :, 0]) / 2 == pytest.approx(np.broadcast_to(d.mean(axis=1), (6, 4)), abs=1e-5)
    assert one[0, 2, 0] == pytest.approx(d[2, first[:10, 0]].mean(), abs=1e-6)


def test_a_full_table_gives_the_analysis_of_variance() -> None:
    s, t = 7, 5
    y = RNG.normal(size=(s, 1)) + 2 * RNG.normal(size=(1, t)) + RNG.normal(size=(s, t))
    found = components(noiseless(y[None]))
    of_source, of_target = t * y.mean(axis=1).var(ddof=1), s * y.mean(axis=0).var(ddof=1)
    rest = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    residual = (rest**2).sum() / ((s - 1) * (t - 1))
    assert found[SOURCE] == pytest.approx((of_source - residual) / t)
    assert found[TARGET] == pytest.approx((of_target - residual) / s)
    assert found[PAIR] == pytest.approx(residual)


def test_three_crossed_factors_are_found_with_cells_missing() -> None:
    totals: dict[frozenset[str], list[float]] = {}
    for _ in range(60):
        m, s, t = (RNG.normal(0, sd, n) for sd, n in ((1, 6), (2, 10), (3, 12)))
        y = m[:, None, None] + s[:, None] + t + RNG.normal(0, 1.5, (6, 1, 12)) + RNG.normal(0, 1, (6, 10, 12))
        y[RNG.random(y.shape) < 0.2] = np.nan
        for name, value in components(noiseless(y)).items():
            totals.setdefault(name, []).append(value)
    truth = {("model",): 1, ("source",): 4, ("target",): 9, ("model", "target"): 2.25, ("model", "source", "target"): 1}
    for name, values in totals.items():
        expected = truth.get(tuple(sorted(name)), 0.0)
        assert np.mean(values) == pytest.approx(expected, abs=max(4 * np.std(values) / np.sqrt(60), 0.05)), name


@pytest.mark.parametrize("world", [World("", items=(100,)), World("", items=(100,), seeds=3, seed_sd=0.03)])
def test_without_effect_no_share_is_left(world: World) -> None:
    """The noise that a whole column shares looks like an effect of the target: uncorrected, most of the variance."""
    found = [of_variance(analyse(draw(world, number))) for number in range(30)]
    for name, many in in_shares({name: [one[name] for one in found] for name in found[0]}).items():
        values = np.array(many)
        assert abs(values.mean()) < 5 + 2 * values.std() / np.sqrt(30), name


def test_shares_and_their_errors() -> None:
    y = RNG.normal(0, 2, (1, 20, 1)) + RNG.normal(0, 1, (1, 20, 15))
    found = shares(noiseless(y), y)
    assert found.measurement == pytest.approx(found.total - sum(found.variance.values()))
    assert 30 < found.share[SOURCE] < 110
    assert 0 < found.share_se[SOURCE] < 40
    assert found.share_se[TARGET] < found.share_se[SOURCE]


@pytest.mark.parametrize("factor", ["model", "source", "target"])
def test_levels_left_out_at_once_are_levels_left_out_one_by_one(factor: str) -> None:
    one, two = RNG.normal(size=(2, 3, 4, 5, 2, 6))
    one[:, RNG.random(one.shape[1:]) < 0.2] = np.nan
    data = Doubles(one, np.where(np.isnan(one), np.nan, two), seeds=True)
    found = components_without(data, factor)
    for level in range(4):
        for name, value in components(data.without(factor, level)).items():
            assert found[name][level] == pytest.approx(value, abs=1e-9), (name, level)


def test_reliability_is_signal_over_what_is_printed() -> None:
    s, t, splits = 30, 20, 40
    truth = RNG.normal(0, 2, (s, t))
    noise = RNG.normal(0, 3, (2, splits, 1, s, 1, t))
    one, two = ((truth[None, None, :, None, :] + part).astype(np.float32) for part in noise)
    printed = truth + RNG.normal(0, 3 / np.sqrt(2), (s, t))
    found = reliability(Doubles(one, two, seeds=False), printed)
    assert found == pytest.approx(4 / (4 + 4.5), abs=0.08)


def test_tau_ceiling_is_the_tau_of_two_noisy_copies() -> None:
    from scipy.stats import kendalltau

    truth = RNG.normal(size=20_000)
    a, b = (truth + RNG.normal(0, sd, 20_000) for sd in (1.0, 0.5))
    assert tau_ceiling(1 / 2, 1 / 1.25) == pytest.approx(kendalltau(a, b).statistic, abs=0.01)
    assert tau_ceiling(1.0, 1.0) == 1


def test_asymmetry_without_noise_is_the_plain_share_and_with_noise_still() -> None:
    from analysis.statistics import asymmetry

    n = 12
    part = RNG.normal(size=(n, n))
    matrix = part + part.T + 0.5 * (part - part.T) * RNG.normal(size=(n, n))
    plain = asymmetry.antisymmetric_share(matrix)
    whole = np.broadcast_to(matrix, (3, n, n))
    assert antisymmetric_share(whole, whole) == pytest.approx(plain, rel=1e-5)
    noise = RNG.normal(0, 2, (2, 400, n, n))
    assert antisymmetric_share(matrix + noise[0], matrix + noise[1]) == pytest.approx(plain, abs=0.1)
    assert asymmetry.antisymmetric_share(matrix + noise[0, 0]) > plain + 0.1


def test_where_nothing_varies_without_a_level_its_error_is_unknown() -> None:
    """Of two targets one moves alone; on the other what one half of the items gained the other has lost."""
    y = np.array([[0.0, 1.0], [0.0, -2.0], [0.0, 3.0]])
    noise = np.array([[0.1, 0.0], [-0.2, 0.0], [0.4, 0.0]])
    data = Doubles((y + noise)[None, None, :, None, :], (y - noise)[None, None, :, None, :], seeds=False)
    with np.errstate(all="raise"):
        found = shares(data, y[None])
    assert np.isnan(found.share_se[PAIR])
    assert np.isfinite(found.share[PAIR])
