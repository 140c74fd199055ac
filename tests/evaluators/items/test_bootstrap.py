"""Metrics of the whole corpus in draws of its items: each draw as lm-eval's own function has it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lm_eval.api import metrics

from evaluators.items.bootstrap import DRAWS, draws, replicates

WORDS = ["the", "cat", "sat", "on", "a", "mat", ".", "dogs", "ran", ",", "ate", "Äpfel"]


def answers(count: int) -> list[tuple[str, str]]:
    rng = random.Random(1)
    return [(" ".join(rng.choices(WORDS, k=8)), " ".join(rng.choices(WORDS, k=7))) for _ in range(count)]


def picks(count: int, classes: int) -> list[tuple[int, int]]:
    rng = random.Random(2)
    return [(rng.randrange(classes), rng.randrange(classes)) for _ in range(count)]


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (metrics.bleu, answers(12)),
        (metrics.chrf, answers(12)),
        (metrics.chrfpp, answers(12)),
        (metrics.ter, answers(12)),
        (metrics.f1_score, picks(30, 2)),
        (metrics.matthews_corrcoef, picks(30, 3)),
        (metrics.perplexity, [-1.0, -2.0, -4.0]),
        (metrics.f1_score, [(0, 0), (0, 0), (1, 0)]),
        (metrics.matthews_corrcoef, [(0, 0), (0, 0), (0, 0)]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*single label", "ignore:F-score is ill-defined")
def test_a_draw_is_what_the_function_makes_of_its_items(function: Callable[[Any], float], values: list[Any]) -> None:
    found = replicates(function, values)
    assert found is not None
    assert len(found) == DRAWS
    for draw in range(0, DRAWS, 40):
        taken = [value for value, times in zip(values, draws(len(values))[draw], strict=True) for _ in range(times)]
        assert found[draw] == pytest.approx(function(taken), abs=1e-9)


def test_draws_are_the_same_for_every_subject_and_take_as_many_items() -> None:
    assert (draws(50).sum(axis=1) == 50).all()
    assert np.array_equal(draws(50), draws.__wrapped__(50))


def test_a_function_that_needs_all_items_has_no_draws() -> None:
    def whole(values: Any) -> float:
        if len(set(values)) < 9:
            raise ValueError("an item is missing")
        return 1.0

    assert replicates(whole, list(range(9))) is None
