"""Training, or scoring, less at once: what is tried after an out-of-memory, or to find the one member at fault.

Whatever is made smaller, each adapter comes out the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from study.config import Recipe, Training
from trainers.settings import rows_per_process

Some = TypeVar("Some")


def smaller(pending: Sequence[Sequence[str]], training: Training, recipe: Recipe) -> tuple[list[list[str]], Training]:
    """What to train after the first gang of `pending` ran out of memory: smaller gangs, else fewer rows at once.

    The adapters come out the same.
    """
    now = len(pending[0])
    if now > 1:
        half = math.ceil(now / 2)
        return [list(gang[i : i + half]) for gang in pending for i in range(0, len(gang), half)], training
    rows = training.micro_batch_size
    rows = rows_per_process(recipe, 1, training.workers_per_trial) if rows == "auto" else rows
    return [list(gang) for gang in pending], with_rows(training, max(1, rows // 2))


def halves(gang: Sequence[Some]) -> list[list[Some]]:
    """A gang, or a batch, of more than one as two."""
    middle = math.ceil(len(gang) / 2)
    return [list(gang[:middle]), list(gang[middle:])]


def with_rows(training: Training, rows: int) -> Training:
    """How to train with at most so many rows in a micro-batch."""
    most = rows if training.micro_batch_size == "auto" else min(rows, training.micro_batch_size)
    return training.model_copy(update={"micro_batch_size": most})
