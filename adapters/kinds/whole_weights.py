"""All weights of a base as one row of a sheet [1, P]: full fine-tuning, as a gang of one.

The base computes with views of the sheet in place of its own weights, which stay what they were. Matrices stand first
in the row; biases and the weights of norms, which transformers' Trainer does not decay, stand last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.func import functional_call
from transformers import PreTrainedModel
from transformers.trainer_pt_utils import get_parameter_names

from adapters.dropout import Dropout
from study.scratch import os_errors

_NOT_DECAYED = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]  # as in the Trainer


class WholeSheet(nn.Module):
    """A trainable copy of a base's weights. The base itself is no part of this module: its weights are not trained."""

    slots = 1
    pace = None
    _base: PreTrainedModel

    def __init__(self, base: PreTrainedModel, device: torch.device) -> None:
        super().__init__()
        self.__dict__["_base"] = base  # set as an attribute it would become a part
        matrices = set(get_parameter_names(base, [nn.LayerNorm], _NOT_DECAYED))  # type: ignore[no-untyped-call]
        found = sorted(base.named_parameters(), key=lambda item: item[0] not in matrices)
        self._shapes = {name: weight.shape for name, weight in found}
        self.decayed = sum(weight.numel() for name, weight in found if name in matrices)
        row = torch.cat([weight.detach().flatten().to(device, torch.float32) for _, weight in found])
        self.weights = nn.Parameter(row[None])

    def forward(self) -> dict[str, torch.Tensor]:
        """Every weight by its name: views of the sheet. Its gradient comes back in one piece."""
        return self._views()

    def logits(
        self, inputs: Mapping[str, object], slots: Sequence[int | None], dropout: Dropout | None
    ) -> torch.Tensor:
        """What the base gives with these weights in place of its own; tied ones are exchanged together."""
        logits_BTV: torch.Tensor = functional_call(self._base, self(), kwargs=dict(inputs)).logits
        return logits_BTV

    def squared_norms(self) -> torch.Tensor:
        raise TypeError("all weights are trained: there is nothing beside the base")

    def copies(self, slot: int) -> dict[str, torch.Tensor]:
        return {name: weight.detach().to("cpu", copy=True) for name, weight in self._views().items()}

    def begin(self, slot: int, tensors: Mapping[str, torch.Tensor]) -> None:
        raise TypeError("all weights are trained: there is no adapter to begin with")

    def detach(self) -> None:
        """Does nothing: the base takes other weights only for the length of a call."""

    def _views(self) -> dict[str, torch.Tensor]:
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        parts = torch.split_with_sizes(self.weights[0], sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}


def write(folder: Path, base: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the base with other weights as transformers saves a model, without a path of this machine."""
    own = {*weights, *(name for name, _ in base.named_buffers())}  # what is left out is tied to one of these
    state = {name: weights.get(name, value) for name, value in base.state_dict().items() if name in own}
    with os_errors():
        base.save_pretrained(folder, state_dict=state)
