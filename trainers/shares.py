"""Which numbers of a gang's sheet [K, P] this process has, and where: as DeepSpeed hands them to an optimiser.

Numbers of a sheet are counted row by row; one that consists of several parts has a single row, part after part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from adapters.base.spread import size_of


@dataclass(frozen=True)
class Share:
    """A process's share of the sheet's `size` numbers from `offset` on; it lies from `begin` on in its flat tensor.

    Processes have `length` numbers each, one after the other, of which those beyond `size` are padding; this one's are
    the `rank`-th. Where `is_part` is not set, every process has all.
    """

    begin: int
    offset: int
    size: int
    length: int
    rank: int
    is_part: bool

    @property
    def first(self) -> int:
        """The number of the sheet that stands at `begin`."""
        return self.offset + min(self.rank * self.length, self.size)

    @property
    def count(self) -> int:
        """How many numbers of the sheet stand there."""
        return min(self.length, self.offset + self.size - self.first)


def dealt(parts: Sequence[torch.Tensor], lengths: Sequence[int], rank: int) -> list[list[Share]]:
    """What lies in each of the flat tensors of these lengths that an optimiser is given for the parts of a sheet.

    Those are the parts; or one, of all parts, or the `rank`-th range of them; or one with a range of each (ZeRO 3).
    """
    sizes = [size_of(part) for part in parts]
    offsets = [sum(sizes[:number]) for number in range(len(sizes))]
    if list(lengths) == sizes:
        return [[Share(0, offset, size, size, 0, False)] for offset, size in zip(offsets, sizes, strict=True)]
    (length,) = lengths
    if not all(hasattr(part, "ds_tensor") for part in parts):
        is_part = length < sum(sizes)
        return [[Share(0, 0, sum(sizes), length, rank if is_part else 0, is_part)]]
    shares, begin = list[Share](), 0
    for part, offset, size in zip(parts, offsets, sizes, strict=True):
        own = int(part.partition_numel())  # type: ignore[attr-defined]  # DeepSpeed's own
        shares.append(Share(begin, offset, size, own, rank, torch.distributed.get_world_size() > 1))
        begin += own
    assert begin == length, "a range of each part"
    return [shares]
