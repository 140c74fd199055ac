"""A seeded search of weights without gradients: those with which a few examples are told best (LoraHub, 2307.13269)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from study.composition import Composition, Search

WIDER, NARROWER = 1.5, 0.85  # what a step becomes after one that was better, and after one that was not
Weights = NDArray[np.float64]


def found(composition: Composition, loss: Callable[[Composition], float]) -> Composition:
    """The composition with the best weights of those tried. `loss` is the mean of one's examples, in nats."""
    search = composition.search
    assert search is not None
    seed = int(composition.identity, 16)
    best = minimised(lambda weights: loss(_with(composition, weights)), len(composition.terms), search, seed)
    return _with(composition, best.tolist())


def minimised(loss: Callable[[Sequence[float]], float], count: int, search: Search, seed: int) -> Weights:
    """Weights within ± `bound` of the least loss + l1 · mean |w| among `budget` that are tried.

    The first are zeros, the second what is equal and adds up to 1; then a (1 + 1) evolution strategy goes on from the
    best, with steps that grow by what is better and shrink by what is not (Rechenberg's rule of a fifth success).
    """
    draw, step = np.random.default_rng(seed), search.bound / 3
    best, least = np.zeros(count), float("inf")
    for number in range(search.budget):
        tried = best
        if number == 1:
            tried = np.full(count, min(1 / count, search.bound))
        elif number > 1:
            tried = np.clip(best + step * draw.standard_normal(count), -search.bound, search.bound)
        value = loss(tried.tolist()) + search.l1 * float(np.abs(tried).mean())
        is_better = value < least
        if is_better:
            best, least = tried, value
        if number > 1:
            step *= WIDER if is_better else NARROWER
    return best


def _with(composition: Composition, weights: Sequence[float]) -> Composition:
    terms = (replace(term, weight=weight) for term, weight in zip(composition.terms, weights, strict=True))
    return replace(composition, terms=tuple(terms))
