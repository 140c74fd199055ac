"""The loss of tokens, in float32 whatever the logits are.

Where they are many on a GPU, their float32 copy, its logarithms and its gradient would be most of a step's memory:
then they are gone through a part of the positions at a time, and only the logits are kept. Gradients are then the same
up to rounding; on a CPU, where results are the same bit for bit, all is computed at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional

AT_ONCE = 2**28  # logits that are in float32 at once on a GPU: 1 GiB


def losses(logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    """-log p of each target, in nats, float32 [N]."""
    if logits_NV.device.type == "cpu" or logits_NV.numel() <= AT_ONCE:
        return functional.cross_entropy(logits_NV.float(), targets_N, reduction="none")
    found: torch.Tensor = InParts.apply(logits_NV, targets_N)
    return found


class InParts(torch.autograd.Function):
    """Of each part what torch's cross-entropy computes; the gradient p - 1[target] has the logits' own precision."""

    @staticmethod
    def forward(ctx: Any, logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(logits_NV, targets_N)
        found = [
            functional.cross_entropy(logits_NV[part].float(), targets_N[part], reduction="none")
            for part in _parts(logits_NV)
        ]
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, gradient_N: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits_NV, targets_N = ctx.saved_tensors
        found_NV = torch.empty_like(logits_NV)
        for part in _parts(logits_NV):
            weight_N1, target_N1 = gradient_N[part, None], targets_N[part, None]
            own_NV = logits_NV[part].float().log_softmax(-1).exp_().mul_(weight_N1)
            found_NV[part] = own_NV.scatter_add_(1, target_N1, -weight_N1)
        return found_NV, None


def _parts(logits_NV: torch.Tensor) -> Iterator[slice]:
    rows = max(1, AT_ONCE // logits_NV.shape[1])
    return (slice(first, first + rows) for first in range(0, len(logits_NV), rows))
