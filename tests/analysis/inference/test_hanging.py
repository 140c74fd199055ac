"""Items that hang together: their clusters, not they themselves, are what a variance is of."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import statsmodels.api as sm

from analysis.frames import HARM_PP
from analysis.inference.cells import Cells, cells
from analysis.inference.items import Column, Grid, Ints, grid
from analysis.inference.means import means, within_model
from analysis.inference.seeds import seed_spread
from bench.calibration.worlds import World, draw

SOURCE = np.repeat(np.arange(4), 2)


def columns(missing: float = 0.0) -> list[Column]:
    """Four sources with two seeds on four targets of two tasks."""
    world = World("", "mixed", tasks=2, languages=2, items=(30, 42), seeds=2, seed_sd=0.03)
    rng = np.random.default_rng(5)
    made = []
    for column in draw(world, 5).columns[0]:
        gone = rng.random(column.difference.shape) < missing
        made.append(replace(column, difference=np.where(gone, np.nan, column.difference).astype(np.float32)))
    return made


def grouped(column: Column, size: int) -> Column:
    return replace(column, cluster=column.cluster // size)


def copied(column: Column, times: int) -> Column:
    """Every item so many times, all copies in one cluster."""
    return replace(column, difference=column.difference.repeat(times, axis=1), cluster=column.cluster.repeat(times))


def robust(values: np.ndarray, groups: np.ndarray | Ints) -> float:
    """Variance of a mean by statsmodels, clusters as they are, without a correction for their number."""
    ones = np.ones(len(values))
    fit = sm.OLS(values, ones).fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    return float(fit.cov_params()[0, 0])


def test_an_item_that_is_asked_three_times_counts_once() -> None:
    once = columns(missing=0.1)
    plain, many = (grid(some, SOURCE, 72) for some in (once, [copied(column, 3) for column in once]))
    counted = {"n_items", "n_gains", "n_losses"}
    for name in (field.name for field in fields(Grid) if field.name not in counted | {"influence", "share", "cluster"}):
        assert getattr(many, name) == pytest.approx(getattr(plain, name), rel=1e-6, nan_ok=True), name
    one, other = cells(plain, HARM_PP), cells(many, HARM_PP)
    for name in (field.name for field in fields(Cells) if field.name != "seeds"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6), name
    every = np.full((1, 4, 4), 1 / 16)
    a, b = (within_model(means(made, seed_spread(made), every)) for made in (plain, many))
    assert (b.low[0], b.high[0], b.df[0]) == pytest.approx((a.low[0], a.high[0], a.df[0]), rel=1e-5)


def test_clusters_of_one_item_change_nothing() -> None:
    plain = columns(missing=0.1)
    turned = [replace(one, cluster=one.cluster.copy()) for one in plain]
    a, b = (grid(some, SOURCE, 72) for some in (plain, turned))
    for name in ("items", "square", "heavy", "n_apart", "noise"):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True)
    assert np.array_equal(a.n_apart, a.n_items)


def test_variances_are_those_of_cluster_robust_errors() -> None:
    """Of a cell, of two seeds' difference, and of a mean over targets that share clusters."""
    made = [grouped(column, 6) for column in columns()]
    found, first = grid(made, SOURCE, 72), made[0].difference.astype(np.float64)
    x, groups = first.reshape(4, 2, -1).mean(axis=1), made[0].cluster
    for row in range(4):
        assert float((found.influence[0][row].astype(float) ** 2).sum()) == pytest.approx(
            robust(x[row], groups), rel=1e-5
        )
        n = len(np.unique(groups))
        apart = robust(first[2 * row] - first[2 * row + 1], groups) * n / (n - 1)
        assert found.noise[row, 0] == pytest.approx(apart, rel=1e-5)
    weights = np.zeros((1, 4, 4))
    weights[0, 0, :2] = 0.5
    mean = means(found, seed_spread(found), weights)
    values = [one.difference[:2].astype(np.float64).mean(axis=0) for one in made[:2]]
    both = robust(np.concatenate(values), np.concatenate([one.cluster for one in made[:2]]))
    assert mean.items[0] == pytest.approx(both * n / (n - 1), rel=1e-5)


def test_intervals_are_wider_and_have_fewer_degrees_of_freedom() -> None:
    made = columns()
    alone, six = (
        cells(grid(some, np.repeat(np.arange(8), 1), 72), HARM_PP) for some in (made, [grouped(one, 6) for one in made])
    )
    assert six.df[0, 0] == pytest.approx(5 + 2 - 1)
    assert alone.df[0, 0] == pytest.approx(30 + 2 - 1)
    uneven = replace(made[0], cluster=np.repeat([0, 1, 2, 3, 4], [18, 3, 3, 3, 3]))
    assert cells(grid([uneven], np.arange(8), 5), HARM_PP).df[0, 0] < 4


def test_where_nothing_changed_a_whole_cluster_might_have() -> None:
    still = Column(np.zeros((1, 60), np.float32), np.arange(1), np.arange(60))
    alone, six = (cells(grid([one], np.arange(1), 60), HARM_PP) for one in (still, grouped(still, 6)))
    ten = cells(grid([Column(np.zeros((1, 10), np.float32), np.arange(1), np.arange(10))], np.arange(1), 10), HARM_PP)
    assert six.high[0, 0] == pytest.approx(ten.high[0, 0])
    assert six.high[0, 0] > alone.high[0, 0]
