"""Linear modules of a model on a CPU in float32, computed by oneDNN.

torch takes oneDNN for half precision and MKL for float32, which on processors of other makers than Intel leaves half of
the machine unused. Weights stay the dense tensors they are: nothing is packed, so they can be exchanged at any time.
"""

from __future__ import annotations

import torch
from torch import nn


class OneDnnLinear(nn.Linear):
    """An nn.Linear whose forward pass is oneDNN's where no gradient is asked for."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad):
            return super().forward(input)
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")  # type: ignore[no-any-return]


def use_onednn(base: nn.Module) -> None:
    """Let every plain linear module of a float32 model on a CPU be computed by oneDNN, where torch has it."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in base.modules():
        if type(module) is nn.Linear:
            weight = module.weight
            if weight.device.type == "cpu" and weight.dtype == torch.float32:
                module.__class__ = OneDnnLinear


def without_onednn(base: nn.Module) -> None:
    """Give the modules their own class back, for code that asks for exactly that."""
    for module in base.modules():
        if type(module) is OneDnnLinear:
            module.__class__ = nn.Linear  # type: ignore[assignment]  # the class that it had
