"""Training, or scoring, less at once: what is tried after an out-of-memory, or to find the one member at fault.

Whatever is made smaller, each adapter comes out the same up to rounding: sums are made of other parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from study.config import Recipe, Training
from trainers.settings import device_of, pass_tokens, rows_per_process

Some = TypeVar("Some")


def smaller(pending: Sequence[Sequence[str]], training: Training, recipe: Recipe) -> tuple[list[list[str]], Training]:
    """What to train after the first gang of `pending` ran out of memory: fewer tokens per pass, else smaller gangs.

    The activations that a pass keeps are most of what is held; what a gang holds by itself is less. A pass holds a row
    of the greatest length whatever its limit is. How long rows are is known where they are tokenised, and not here:
    where none is as long as the recipe allows, the first limits may be above what a pass has, and each of these costs a
    try that fails as the one before.
    """
    now = most_tokens(len(pending[0]), training, recipe)
    if now > recipe.max_length:
        return [list(gang) for gang in pending], with_limits(training, None, max(recipe.max_length, now // 2))
    half = math.ceil(len(pending[0]) / 2)
    return [list(gang[i : i + half]) for gang in pending for i in range(0, len(gang), half)], training


def is_least(gang: Sequence[str], training: Training, recipe: Recipe) -> bool:
    """Whether nothing smaller can be trained."""
    return len(gang) == 1 and most_tokens(1, training, recipe) <= recipe.max_length


def most_tokens(gang: int, training: Training, recipe: Recipe) -> int:
    """The most tokens, with padding, that a pass of a gang may have, or one row if that is longer."""
    rows = rows_per_process(recipe, gang, training.workers_per_trial)
    if training.micro_batch_size != "auto":
        rows = min(rows, training.micro_batch_size)
    return min(rows * recipe.max_length, pass_tokens(training, device_of(training)))


def halves(gang: Sequence[Some]) -> list[list[Some]]:
    """A gang, or a batch, of more than one as two."""
    middle = math.ceil(len(gang) / 2)
    return [list(gang[:middle]), list(gang[middle:])]


def with_limits(training: Training, rows: int | None, tokens: int | None) -> Training:
    """How to train with at most so many rows, and tokens, in a micro-batch; None does not limit."""
    limits = {"micro_batch_size": rows, "micro_batch_tokens": tokens}
    least = {}
    for key, limit in limits.items():
        if limit is not None:
            now = getattr(training, key)
            least[key] = limit if now == "auto" else min(limit, now)
    return training.model_copy(update=least)
