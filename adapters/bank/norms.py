"""How far adapters take a base's matrices: ‖ΔW‖² in the Frobenius norm, summed over modules, from the factors alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch

from adapters.base.device import uploaded

Pair = tuple[torch.Tensor, torch.Tensor]  # A [K, R, I] and B [K, O, R] of a module


def squared_norms(pairs: Sequence[Pair], scalings: Sequence[Sequence[float]]) -> torch.Tensor:
    """Σ‖s B A‖² over modules for each of K adapters, [K] float32; `scalings` are theirs, module by module."""
    return _SquaredNorms.apply(uploaded(torch.tensor(scalings), pairs[0][0].device), *chain(*pairs))  # type: ignore[no-any-return,no-untyped-call]


class _SquaredNorms(torch.autograd.Function):
    """‖s B A‖² = s² tr((BᵀB)(AAᵀ)), so that nothing is as large as a module; gradients are 2s²·BᵀBA and 2s²·BAAᵀ."""

    @staticmethod
    def forward(ctx: Any, scalings_MK: torch.Tensor, *factors: torch.Tensor) -> torch.Tensor:
        ctx.squares_MK, ctx.dtype = scalings_MK.square(), factors[0].dtype
        floats = [factor.float() for factor in factors]
        grams = [torch.bmm(a, a.mT) if i % 2 == 0 else torch.bmm(a.mT, a) for i, a in enumerate(floats)]
        ctx.save_for_backward(*floats, *grams)
        traces_MK = torch.stack([(aa * bb).sum((1, 2)) for aa, bb in zip(grams[::2], grams[1::2], strict=True)])
        norms_K: torch.Tensor = (ctx.squares_MK * traces_MK).sum(0)
        return norms_K

    @staticmethod
    def backward(ctx: Any, gradient_K: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        count = len(ctx.saved_tensors) // 2
        floats, grams = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        found: list[torch.Tensor | None] = [None]
        for module, weight_K in enumerate(2 * ctx.squares_MK * gradient_K):
            (a, b), (aa, bb) = floats[2 * module : 2 * module + 2], grams[2 * module : 2 * module + 2]
            weight = weight_K[:, None, None]
            found += [torch.bmm(bb * weight, a).to(ctx.dtype), torch.bmm(b, aa * weight).to(ctx.dtype)]
        return tuple(found)
