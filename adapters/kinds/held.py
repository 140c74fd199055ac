"""What one more member of a gang holds in a step of training, counted from the shapes of a base's linear modules.

`bench.memory` holds the counts to what steps hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from study.models.shapes import Linear

PER_NUMBER, PER_NUMBER_OF_HALF = 4.0, 2.2  # bytes of an activation; in half precision norms compute in float32


@dataclass(frozen=True)
class Held:
    """How many `weights` an adapter has, and how many numbers each token of its rows keeps for the backward pass."""

    weights: int
    numbers: int


def held(adapted: Sequence[Linear], linear: Sequence[Linear], rank: int, has_dropout: bool) -> Held:
    """Of low-rank products beside the `adapted` ones of all `linear` modules.

    A token keeps about what these modules take in and give out: norms, rotations and activations keep what a frozen
    matrix would not, and modules share what they take in. Where one is not adapted, half of what it takes in is not
    kept; dropout keeps what is left, and its mask, in place of what went in.
    """
    taken, given = (sum(getattr(one, side) for one in adapted) for side in ("taken", "given"))
    low = rank * sum(one.modules for one in adapted)
    numbers = sum(one.given + one.taken / 2 for one in linear) + taken / 2 + low
    return Held(rank * (taken + given), round(numbers + (1.5 * taken if has_dropout else 0)))
