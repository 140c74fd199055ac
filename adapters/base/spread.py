"""Weights that ZeRO 3 has spread over processes, put together where something is computed or made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import nn

Place: TypeAlias = tuple[nn.Parameter, torch.Size, tuple[int, ...], int]  # of which weight: shape, strides, offset


@contextmanager
def whole(weights: Sequence[torch.Tensor], written: bool = False) -> Iterator[None]:
    """Within, these weights are whole in this process; where they are spread every process has to ask.

    Those that are `written` are what the first process has written.
    """
    if not any(hasattr(weight, "ds_id") for weight in weights):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(weights), modifier_rank=0 if written else None):
        yield


def is_spread(model: nn.Module) -> bool:
    """Whether a model's weights are spread."""
    return any(hasattr(weight, "ds_id") for weight in model.parameters())


def size_of(weight: torch.Tensor) -> int:
    """How many numbers a weight has, also where it is spread."""
    return int(getattr(weight, "ds_numel", weight.numel()))


@torch.no_grad()
def copied(weight: torch.Tensor, dtype: torch.dtype) -> nn.Parameter:
    """A copy of a weight; where that is spread it is, too, at once, and every process has to ask."""
    with whole([weight]):
        fresh = nn.Parameter(weight.detach().to(dtype, copy=True), requires_grad=False)
    if hasattr(weight, "ds_id"):
        weight.convert_to_zero_parameters(param_list=[fresh])  # type: ignore[attr-defined]  # DeepSpeed's own
    return fresh


class Saved:
    """What a backward pass needs of a spread model's weights, kept as where it stands in which of them.

    Views of a weight would keep its numbers, such as those of all experts, from a layer's forward pass on until its
    backward pass, for which DeepSpeed puts them together anew.
    """

    def __init__(self, model: nn.Module) -> None:
        """From now on; DeepSpeed's own hooks have to be in the model by then, for they bring a module's weights."""
        self._owners: dict[int, nn.Parameter] = {}  # by a storage that was theirs, and may be another's by now
        for module in model.modules():
            if module._parameters:
                module.register_forward_pre_hook(self._note)

    @contextmanager
    def as_places(self) -> Iterator[None]:
        """In forward passes within."""
        with torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack):
            yield

    def _note(self, module: nn.Module, _inputs: object) -> None:
        self._owners.update((_storage(weight), weight) for weight in module.parameters(recurse=False))

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor | Place:
        storage = _storage(tensor)
        weight = self._owners.get(storage)
        if weight is None or _storage(weight) != storage:
            return tensor
        return weight, tensor.shape, tensor.stride(), int(tensor.storage_offset() - weight.storage_offset())

    def _unpack(self, kept: torch.Tensor | Place) -> torch.Tensor:
        if isinstance(kept, torch.Tensor):
            return kept
        weight, shape, strides, offset = kept
        if weight.numel() < size_of(weight):  # DeepSpeed has not seen that the module's backward pass begins
            with whole([weight]):
                return _part(weight.detach().clone(), shape, strides, offset)
        return _part(weight.detach(), shape, strides, offset)


def _part(weight: torch.Tensor, shape: torch.Size, strides: tuple[int, ...], offset: int) -> torch.Tensor:
    return weight.as_strided(shape, strides, weight.storage_offset() + offset)


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
