"""Items as clusters: variances, influences and contrasts of seeds against plain loops and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.frames import HARM_PP
from analysis.inference.cells import cells
from analysis.inference.items import Column, Grid, grid

RNG = np.random.default_rng(7)


def answers(adapters: int, items: int, missing: float = 0.0) -> np.ndarray:
    """Differences of right and wrong in points, some missing."""
    drawn = RNG.choice([-100.0, 0.0, 0.0, 100.0], size=(adapters, items)).astype(np.float32)
    drawn[RNG.random(drawn.shape) < missing] = np.nan
    return drawn


def of(*differences: np.ndarray, source: list[int]) -> Grid:
    """A grid of targets that have the same items."""
    n = differences[0].shape[1]
    columns = [Column(d, np.arange(len(d)), np.arange(n)) for d in differences]
    return grid(columns, np.array(source), n)


def test_one_seed_is_a_t_test_of_the_augmented_items() -> None:
    """Among them are one pseudo-gain and one pseudo-loss of a whole item."""
    d = answers(3, 50)
    found = cells(of(d, source=[0, 1, 2]), HARM_PP)
    for row in range(3):
        augmented = np.concatenate([d[row], [100.0, -100.0]])
        less = stats.ttest_1samp(augmented, 0, alternative="less")
        assert found.worse[row, 0] == pytest.approx(less.pvalue, rel=1e-5)
        assert found.better[row, 0] == pytest.approx(1 - less.pvalue, rel=1e-5)
        sure = stats.ttest_1samp(augmented, -1.0, alternative="less")
        assert found.sure[row, 0] == pytest.approx(sure.pvalue, rel=1e-5)
        interval = stats.ttest_1samp(augmented, 0).confidence_interval(0.95)
        assert (found.low[row, 0], found.high[row, 0]) == pytest.approx((interval.low, interval.high), rel=1e-5)
    assert not found.seeds.known


def test_seeds_on_the_same_items_are_no_new_items() -> None:
    """Three seeds that answer alike are as sure as one of them."""
    d = answers(1, 60)
    one, three = of(d, source=[0]), of(np.repeat(d, 3, axis=0), source=[0, 0, 0])
    assert three.items == pytest.approx(one.items)
    assert three.delta == pytest.approx(one.delta)
    assert three.n_seeds.item() == 3
    assert (three.contrast == 0).all()


def plain_variance(d: np.ndarray, size: float) -> float:
    """Variance of the mean over seeds of the seeds' means, items (and two pseudo-items) resampled as clusters."""
    k, n = d.shape
    augmented = np.column_stack([d, np.full(k, size), np.full(k, -size)])
    moved = np.zeros(n + 2)
    for row in augmented:
        seen = ~np.isnan(row)
        moved[seen] += (row[seen] - row[seen].mean()) / seen.sum() / k
    more = (~np.isnan(d)).any(axis=0).sum() + 2
    return float((moved**2).sum() * more / (more - 1))


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_cluster_variance_of_several_seeds(missing: float) -> None:
    d = answers(5, 40, missing)
    made = of(d, source=[0, 0, 0, 1, 1])
    x = []
    for part in (d[:3], d[3:]):
        seen = ~np.isnan(part)
        n = (~np.isnan(part)).any(axis=0).sum()
        x.append(n * (np.where(seen, part, 0) / seen.sum(axis=1, keepdims=True)).mean(axis=0))
    some = np.concatenate(x)[np.concatenate(x) != 0]
    size = float(np.sqrt((some**2).mean()))
    for index, part in enumerate((d[:3], d[3:])):
        assert made.items[index, 0] == pytest.approx(plain_variance(part, size), rel=1e-5)
        assert made.delta[index, 0] == pytest.approx(np.nanmean(part, axis=1).mean(), abs=1e-4)
        assert made.n_items[index, 0] == (~np.isnan(part)).any(axis=0).sum()


def test_influences_add_up_to_the_variance_without_pseudo_items() -> None:
    d = answers(4, 80)
    made = of(d, source=[0, 0, 1, 1])
    for index in range(2):
        x = d[2 * index : 2 * index + 2].mean(axis=0)
        assert (made.influence[0][index] ** 2).sum() * 80 / 79 == pytest.approx(x.var(ddof=1) / 80, rel=1e-4)
        assert made.influence[0][index].sum() == pytest.approx(0, abs=1e-4)
        assert made.square[index, 0] == pytest.approx((x**2).sum() / 80**2, rel=1e-5)


def test_contrasts_of_seeds_are_made_of_the_items_that_both_have() -> None:
    d = answers(3, 30, missing=0.2)
    made = of(d, source=[0, 0, 0])
    for row, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        e = d[a] - d[b]
        e = e[~np.isnan(e)].astype(float)
        assert made.contrast[row, 0] == pytest.approx(e.mean(), rel=1e-5)
        assert made.noise[row, 0] == pytest.approx(e.var(ddof=1) / len(e), rel=1e-5)


def test_what_was_not_scored_is_absent_and_never_0() -> None:
    d = answers(4, 20)
    gone = d.copy()
    gone[2:] = np.nan
    made = of(d, gone, source=[0, 0, 1, 1])
    assert np.isnan(made.delta[1, 1])
    assert made.n_seeds[1, 1] == made.n_items[1, 1] == 0
    found = cells(made, HARM_PP)
    assert np.isnan([found.low[1, 1], found.worse[1, 1], found.sure[1, 1]]).all()
    assert not np.isnan(found.low[:, 0]).any()


def test_where_nothing_differs_the_interval_has_a_width() -> None:
    found = cells(of(np.zeros((2, 100), np.float32), source=[0, 1]), HARM_PP)
    assert found.low == pytest.approx(-found.high)
    assert (found.high > 1).all()
    assert found.worse == pytest.approx(0.5)


def test_graded_metrics_keep_their_unit() -> None:
    """A metric ten times as fine gives intervals ten times as narrow, and the same p-values against 0."""
    d = np.random.default_rng(3).normal(-0.2, 1, (2, 70)).astype(np.float32)
    coarse, fine = cells(of(d, source=[0, 1]), harm=-0.1), cells(of(d / 10, source=[0, 1]), harm=-0.01)
    assert fine.low == pytest.approx(coarse.low / 10, rel=1e-4)
    for name in ("worse", "better", "sure"):
        assert getattr(fine, name) == pytest.approx(getattr(coarse, name), rel=1e-3)


def test_graded_items_that_are_nearly_all_alike_leave_few_degrees_of_freedom() -> None:
    """By Satterthwaite with the fourth moment; of right and wrong answers, and of normal values, they are N − 1."""
    rng = np.random.default_rng(2)
    x = np.where(rng.random(100) < 0.06, rng.normal(0, 50, 100), 0.0)
    counted = []
    for values, is_graded in ((x, True), (x, False), (rng.normal(0, 50, 100), True)):
        columns = [Column(values[None].astype(np.float32), np.arange(1), np.arange(100), graded=is_graded)]
        counted.append(float(cells(grid(columns, np.arange(1), 100), -1.0).df[0, 0]))
    moved = x - x.mean()
    assert counted[0] == pytest.approx(2 / ((moved**4).sum() / (moved**2).sum() ** 2 - 1 / 100), rel=0.2)
    assert counted[0] < 10
    assert counted[1:] == pytest.approx([101, 101], rel=0.15)
