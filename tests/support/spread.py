"""What a process holds of weights that ZeRO 3 has spread, and of their gradients, while it trains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from trainers.engine import Engine
from trainers.world import deepspeed


class Held:
    """How many numbers of some tensors were held at once, by whomever: a tensor's memory, a view, a saved one."""

    def __init__(self) -> None:
        self.most = 0
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def note(self, tensors: Iterable[torch.Tensor]) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self._storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes() // tensor.element_size())
        self._storages = {at: one for at, one in self._storages.items() if not one[0].expired()}
        self.most = max(self.most, sum(numbers for _, numbers in self._storages.values()))


@contextmanager
def watched(weights: Held, gradients: Held) -> Iterator[None]:
    """Within, every weight that DeepSpeed puts together is noted, and every gradient before it is dealt out."""
    zero = deepspeed.runtime.zero.partition_parameters
    handle, coalesced, bad = zero.AllGatherHandle.wait, zero.AllGatherCoalescedHandle.wait, Engine._without_bad

    def waited(self: Any, *args: Any, **kwargs: Any) -> None:
        handle(self, *args, **kwargs)
        weights.note([self._AllGatherHandle__param])

    def waited_for_all(self: Any, *args: Any, **kwargs: Any) -> None:
        coalesced(self, *args, **kwargs)
        weights.note(self.params)

    def looked_at(self: Engine, gradient: torch.Tensor) -> torch.Tensor:
        found = bad(self, gradient)
        gradients.note([gradient, found])
        return found

    with (
        patch.object(zero.AllGatherHandle, "wait", waited),
        patch.object(zero.AllGatherCoalescedHandle, "wait", waited_for_all),
        patch.object(Engine, "_without_bad", looked_at),
    ):
        yield
