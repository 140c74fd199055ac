"""Metrics that only all items together have, of studies of known truth: through the draws that the report uses.

The same answers, right or wrong, are scored anew: by a *ratio*, the length of right items over that of all, and by *F1*
of the answers to a yes-or-no question. Length and the right answer have nothing to do with who errs, so the true ratio
moves as the accuracy does, and the true F1 follows from it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import t

from analysis.inference.claims import LEVEL, q_values
from analysis.inference.draws import Draws, drawn
from analysis.inference.items import Column, Floats
from bench.calibration.worlds import Mask, Study

DRAWS = 200
YES = 0.4  # share of the questions whose answer is yes
LENGTHS = 0.7  # sd of the logarithm of an item's length
Score = Callable[
    [Mask, Floats], Floats
]  # of A adapters' right items (A × N) in draws with these weights (B × N): A × B


def of_corpus(study: Study) -> dict[str, float]:
    """Coverage, false discoveries and power of the first model's cells, less those that no draw tells anything of."""
    rng = np.random.default_rng((1e9 * study.accuracy[0]).astype(np.int64))
    parts = zip(study.columns[0], study.right[0], strict=True)
    found = drawn([_target(column, right, study.world.metric, rng) for column, right in parts], study.source[0])
    truth = _truth(study, (study.of_source if found.seeds_known else study.of_adapter)[0])
    se = np.where(found.se > 0, found.se, np.nan)
    told, half = ~np.isnan(se), t.ppf(0.975, found.df) * se
    score = found.delta / se
    worse, better = (q_values(p) <= LEVEL for p in (t.cdf(score, found.df), t.sf(score, found.df)))
    big = told & (truth <= -8)
    return {
        "coverage": float((abs(found.delta - truth) <= half)[told].mean()),
        "harm FDR": float((worse & (truth >= 0)).sum() / max(worse.sum(), 1)),
        "gain FDR": float((better & (truth <= 0)).sum() / max(better.sum(), 1)),
        "power −8": float(worse[big].mean()) if big.any() else float("nan"),
    }


def _target(column: Column, base: Mask, metric: str, rng: np.random.Generator) -> Draws:
    right = base ^ (column.difference != 0)
    n = len(base)
    score = _ratio(np.exp(LENGTHS * rng.normal(size=n))) if metric == "ratio" else _f1(rng.random(n) < YES)
    weights = rng.multinomial(n, np.full(n, 1 / n), DRAWS).astype(np.float64)
    every = np.ones((1, n))
    difference = score(right, every)[:, 0] - score(base[None], every)[0, 0]
    moved = score(right, weights) - score(base[None], weights)
    return Draws(100 * difference, 100 * moved, column.adapter, n, column.task)


def _ratio(length: Floats) -> Score:
    return lambda right, weights: (right * length) @ weights.T / (weights @ length)


def _f1(yes: Mask) -> Score:
    def score(right: Mask, weights: Floats) -> Floats:
        hits, wrong = (right & yes) @ weights.T, ~right @ weights.T
        return np.asarray(2 * hits / (2 * hits + wrong))

    return score


def _truth(study: Study, delta: Floats) -> Floats:
    """Of cells whose accuracy changes by so many points."""
    if study.world.metric == "ratio":
        return delta
    base = study.accuracy[0]
    one, two = (2 * YES * right / (2 * YES * right + 1 - right) for right in (base, base + delta / 100))
    return np.asarray(100 * (two - one))
