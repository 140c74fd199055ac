"""Which numbers of an adapter's update are among its largest, over all its modules, with one dense matrix at a time.

Magnitudes of float32 are in the order of their bits read as whole numbers. So the k-th largest is found exactly by two
counts, of the upper and of the lower half of the bits. Of equal magnitudes those of the lower module name stay, then
those of the lower index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

_LOW = 16  # bits of the lower half
_UPPER, _LOWER = 1 << 31 - _LOW, 1 << _LOW  # how many values a half has


class Trimmer:
    """Sets all but the largest numbers of an update to zero, matrix by matrix in the order in which they were counted.

    `matrices` gives the same ones each time it is called.
    """

    def __init__(self, matrices: Callable[[], Iterable[torch.Tensor]], density: float) -> None:
        upper, total = torch.zeros(_UPPER, dtype=torch.int64), 0
        for x in matrices():
            upper += torch.bincount(_bits(x) >> _LOW, minlength=_UPPER)
            total += x.numel()
        keep = int(density * total)
        first, above = _reaching(upper, keep)
        lower = torch.zeros(_LOWER, dtype=torch.int64)
        for x in matrices():
            bits = _bits(x)
            lower += torch.bincount(bits[bits >> _LOW == first] & _LOWER - 1, minlength=_LOWER)
        second, higher = _reaching(lower, keep - above)
        self._least, self._equal = first << _LOW | second, keep - above - higher

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        bits = _bits(x)
        stays, equal = bits > self._least, bits == self._least
        if self._equal:
            equal &= equal.cumsum(0) <= self._equal
            self._equal -= int(equal.sum())
            stays |= equal
        return x * stays.view(x.shape)


def _bits(x: torch.Tensor) -> torch.Tensor:
    """Magnitudes [N] as whole numbers of their order."""
    return x.abs().view(torch.int32).flatten()


def _reaching(counts: torch.Tensor, keep: int) -> tuple[int, int]:
    """The largest value from which on up there are at least `keep` numbers, and how many are above it."""
    from_above = counts.flip(0).cumsum(0)
    steps = int((from_above < keep).sum())
    above = int(from_above[steps - 1]) if steps else 0
    return len(counts) - 1 - steps, above
