"""Weights of one member as the only row of a sheet [1, P], each a view of it by its name in the model it is of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn


class Row(nn.Module):
    """A trainable copy of `weights`, one after the other. The model they are of is no part of this module.

    Weight decay applies to the first `decayed` numbers.
    """

    slots, pace = 1, None

    def __init__(self, weights: Mapping[str, torch.Tensor], decayed: int, device: torch.device) -> None:
        super().__init__()
        self._shapes = {name: weight.shape for name, weight in weights.items()}
        self.decayed = decayed
        row_1P = torch.empty(1, sum(weight.numel() for weight in weights.values()), device=device)
        self.weights = nn.Parameter(row_1P)  # its memory is all that is taken
        with torch.no_grad():
            for name, own in self.views().items():
                own.copy_(weights[name])

    def forward(self) -> dict[str, torch.Tensor]:
        """Every weight by its name: views of the sheet. Its gradient comes back in one piece."""
        return self.views()

    def views(self, weights_1P: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """The same where the sheet is whole already, or of another one."""
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        parts = torch.split_with_sizes((self.weights if weights_1P is None else weights_1P)[0], sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    @property
    def parts(self) -> Sequence[nn.Parameter]:
        return [self.weights]

    def copies(self, slot: int, parts: Sequence[torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        views = self.views(None if parts is None else parts[0])
        return {name: weight.detach().to("cpu", copy=True) for name, weight in views.items()}

    def squared_norms(self) -> torch.Tensor:
        raise TypeError("there is no product beside the base's matrices")

    def recompute(self) -> None:
        raise TypeError("the weights are a model's for the length of a call alone, and not in its backward pass")

    def detach(self) -> None:
        """Does nothing: a model takes these weights only for the length of a call."""
