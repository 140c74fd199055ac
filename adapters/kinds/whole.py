"""All weights of a base as one row of a sheet [1, P]: full fine-tuning, as a gang of one.

The base computes with views of the sheet in place of its own weights, which stay what they were. Matrices stand first
in the row; biases and the weights of norms, which transformers' Trainer does not decay, stand last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from transformers.trainer_pt_utils import get_parameter_names

from study.scratch import os_errors

_NOT_DECAYED = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]  # as in the Trainer


class WholeModel(nn.Module):
    """A trainable copy of a base's weights. `decayed` is how many of the row's numbers weight decay applies to."""

    slots = 1

    def __init__(self, base: nn.Module, device: torch.device | str) -> None:
        super().__init__()
        matrices = set(get_parameter_names(base, [nn.LayerNorm], _NOT_DECAYED))  # type: ignore[no-untyped-call]
        found = sorted(base.named_parameters(), key=lambda item: item[0] not in matrices)
        self._shapes = {name: weight.shape for name, weight in found}
        self.decayed = sum(weight.numel() for name, weight in found if name in matrices)
        row = torch.cat([weight.detach().flatten().to(device, torch.float32) for _, weight in found])
        self.sheet = nn.Parameter(row[None])

    def forward(self) -> dict[str, torch.Tensor]:
        """Every weight by its name: views of the sheet. Its gradient comes back in one piece."""
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        parts = torch.split_with_sizes(self.sheet[0], sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def run(self, base: nn.Module, inputs: Mapping[str, Any]) -> Any:
        """What the base gives for `inputs` with these weights, tied ones included."""
        return functional_call(base, self(), kwargs=dict(inputs))

    def copies(self) -> dict[str, torch.Tensor]:
        """The weights on the CPU."""
        return {name: weight.detach().to("cpu", copy=True) for name, weight in WholeModel.forward(self).items()}


def write(folder: Path, base: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the base with other weights as transformers saves a model, without a path of this machine."""
    own = {*weights, *(name for name, _ in base.named_buffers())}  # what is left out is tied to one of these
    state = {name: weights.get(name, value) for name, value in base.state_dict().items() if name in own}
    with os_errors():
        base.save_pretrained(folder, state_dict=state)
