"""How well predicted values go with measured ones, P points in D draws at once, with and without the noise of items.

Points have weights, a draw's counts of their targets and seeds. A value from one half of the items and one from the
other have no noise in common, so products of the two have no noise in their mean: `slope`, `pearson_clean` and
`rmse_clean` are made of such products. The slope is that of measured on predicted values; noise in the latter does not
flatten it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.inference.items import Floats

STATISTICS = ("pearson", "spearman", "rmse", "slope", "pearson_clean", "rmse_clean")
LEAST = 1e-9  # of a variance, below which nothing varies
SURE = 0.1  # of the variance of values, which must be none of noise for anything to be told without it
FEWEST = 3  # points


def agreement(predicted: Sequence[Floats], measured: Sequence[Floats], weights: Floats) -> dict[str, Floats]:
    """Every statistic in each draw, D each; `predicted` and `measured` are P × D of all items, and of either half."""
    x, y = predicted[0], measured[0]
    residual = [m - p for p, m in zip(predicted, measured, strict=True)]
    both = (_covariance(predicted[1], measured[2], weights) + _covariance(predicted[2], measured[1], weights)) / 2
    own = [_covariance(side[1], side[2], weights) for side in (predicted, measured)]
    whole = [_covariance(side[0], side[0], weights) for side in (predicted, measured)]
    least = [np.maximum(SURE * one, LEAST) for one in whole]
    own = [np.where(one > most, one, np.nan) for one, most in zip(own, least, strict=True)]
    return {
        "pearson": _pearson(x, y, weights),
        "spearman": _pearson(ranks(x, weights), ranks(y, weights), weights),
        "rmse": np.sqrt(_mean(residual[0] ** 2, weights)),
        "slope": both / own[0],
        "pearson_clean": both / np.sqrt(own[0] * own[1]),
        "rmse_clean": _rooted(_mean(residual[1] * residual[2], weights)),
    }


def _rooted(square: Floats) -> Floats:
    """Its root, with its sign: what is cut off at 0 before its interval is made has one that lacks 0."""
    return np.asarray(np.sign(square) * np.sqrt(np.abs(square)))


def shifted(drawn: Floats, point: float, targets: int, level: float = 0.95) -> tuple[float, float]:
    """Ends of an interval: quantiles of the draws, moved so that their middle is the estimate, and from it.

    Items that are drawn again are noisier than the items themselves, which draws every correlation towards 0. Of few
    targets draws vary too little, by √(1 − 1/n), and normally where Student's t would: of six it is 1.4 times as far.
    Of one they say nothing of another.
    """
    from scipy.stats import norm, t

    known = drawn[~np.isnan(drawn)]
    if not len(known) or np.isnan(point) or targets < 2:
        return np.nan, np.nan
    low, middle, high = np.quantile(known, [(1 - level) / 2, 0.5, (1 + level) / 2])
    tail = (1 + level) / 2
    far = float(t.ppf(tail, targets - 1) / norm.ppf(tail) * np.sqrt(targets / (targets - 1)))
    return point - far * float(middle - low), point + far * float(high - middle)


def within_range(name: str, low: float, high: float) -> tuple[float, float]:
    """Ends no farther than the statistic can be."""
    least, most = (0.0, np.inf) if name.startswith("rmse") else (-np.inf, np.inf) if name == "slope" else (-1.0, 1.0)
    return float(np.clip(low, least, most)), float(np.clip(high, least, most))


def told(drawn: Mapping[str, Floats], targets: int) -> dict[str, float]:
    """Every statistic, of which the first draw is the study itself, and the ends of its interval over such targets."""
    found: dict[str, float] = {}
    for name, values in drawn.items():
        ends = within_range(name, *shifted(values[1:], float(values[0]), targets))
        point, _ = within_range(name, float(values[0]), float(values[0]))
        found |= {name: point, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return found


def ranks(values: Floats, weights: Floats) -> Floats:
    """P × D: the rank of every point among those of its draw, each as often as its weight says; ties are halved."""
    order = values.argsort(axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    w = np.take_along_axis(np.broadcast_to(weights, values.shape), order, axis=0)
    ends = w.cumsum(axis=0)
    new = np.ones(values.shape, bool)
    new[1:] = ordered[1:] != ordered[:-1]
    before = np.maximum.accumulate(np.where(new, ends - w, -np.inf), axis=0)
    last = np.ones(values.shape, bool)
    last[:-1] = new[1:]
    after = np.minimum.accumulate(np.where(last, ends, np.inf)[::-1], axis=0)[::-1]
    found = np.empty(values.shape)
    np.put_along_axis(found, order, (before + after) / 2, axis=0)
    return found


def _mean(values: Floats, weights: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((weights * values).sum(axis=0) / weights.sum(axis=0))


def _covariance(a: Floats, b: Floats, weights: Floats) -> Floats:
    return np.asarray(_mean((a - _mean(a, weights)) * (b - _mean(b, weights)), weights))


def _pearson(a: Floats, b: Floats, weights: Floats) -> Floats:
    own = [_covariance(one, one, weights) for one in (a, b)]
    enough = (own[0] > LEAST) & (own[1] > LEAST)
    return np.where(enough, _covariance(a, b, weights) / np.sqrt(np.where(enough, own[0] * own[1], 1.0)), np.nan)
