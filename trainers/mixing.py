"""Which rows each optimiser step learns from, epoch by epoch: those of one cell, or of several by `recipe.mixing`.

Invariants: a function of the rows of each cell, the recipe and the seed alone; where cells are drawn, a row comes again
only when all of its cell have come, and an epoch has as many steps, as large, as one that takes every row once.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from study.config import Mixing, Recipe
from study.config.recipe import Temperature
from trainers.data import steps

Steps = list[list[int]]


def epochs(cells: Sequence[Sequence[int]], recipe: Recipe, seed: int) -> list[Steps]:
    """The optimiser steps of each epoch, for the rows to learn from by cell. Only `sequential` has epochs of a cell."""
    mixing, size = recipe.mixing, recipe.batch_size
    if mixing.order == "sequential":
        return [steps(cell, size, seed, epoch) for cell in cells for epoch in range(recipe.epochs)]
    rows = [row for cell in cells for row in cell]
    plain = [steps(rows, size, seed, epoch) for epoch in range(recipe.epochs)]
    if mixing == Mixing():
        return plain
    draw = _Draw(cells, mixing, seed)
    return [[draw.step(len(step)) for step in epoch] for epoch in plain]


def shares(sizes: Sequence[int], mixing: Mixing) -> list[float]:
    """With which probability each cell is drawn: p ∝ n^(1/τ), where τ is 1 by size and infinite where all are alike."""
    if isinstance(mixing.weights, Temperature):
        temperature = mixing.weights.temperature
    else:
        temperature = 1.0 if mixing.weights == "size" else math.inf
    largest = max(sizes)  # by which they are divided, so that no power is too large for a number
    parts = [(size / largest) ** (1 / temperature) for size in sizes]
    return [part / sum(parts) for part in parts]


class _Draw:
    """Rows of cells that are drawn: of one for each batch (`reptile`), else of one for each row."""

    def __init__(self, cells: Sequence[Sequence[int]], mixing: Mixing, seed: int) -> None:
        self._random = random.Random(f"mixing:{seed}")
        self._queues = [_queue(cell, f"order:{seed}:{number}") for number, cell in enumerate(cells)]
        self._shares, self._of_one = shares([len(cell) for cell in cells], mixing), mixing.order == "reptile"

    def step(self, size: int) -> list[int]:
        """The rows of the next step."""
        drawn = self._random.choices(self._queues, self._shares, k=1 if self._of_one else size)
        return [next(queue) for queue in (drawn * size if self._of_one else drawn)]


def _queue(rows: Sequence[int], name: str) -> Iterator[int]:
    """All rows in an order of chance, then all in another one, without end."""
    chance = random.Random(name)
    while True:
        order = list(rows)
        chance.shuffle(order)
        yield from order
