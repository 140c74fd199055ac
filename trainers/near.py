"""Which prompts of other tasks an adapter is kept near the base on: a function of the seed and the step alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

from study.data.example import Example


def drawn(prompts: Sequence[Sequence[Example]], count: int, seed: int, steps: int) -> tuple[Example, ...]:
    """`count` examples for each of so many optimiser steps, one after the other: each of a cell, all cells alike."""
    found: list[Example] = []
    for step in range(steps):
        chance = random.Random(f"near:{seed}:{step}")
        found += [chance.choice(chance.choice(prompts)) for _ in range(count)]
    return tuple(found)
