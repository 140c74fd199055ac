"""Whose rows a batch holds, and the low-rank product of each row's own adapter as two batched GEMMs.

A batch is cut into equal blocks of rows of one adapter: as long as its runs of rows allow, else of single rows. So
equal and unequal shares take the same path, and a block never holds rows of two adapters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch


class Rows:
    """Which slot each row of a batch belongs to; None where it is the base's alone."""

    def __init__(self, slots: Sequence[int | None], of: int, device: torch.device) -> None:
        self.count = len(slots)
        runs = [len(list(run)) for _, run in groupby(slots)]
        self._block = math.gcd(*runs)
        owners = slots[:: self._block]
        self.used = [slot for slot in owners if slot is not None]
        self._owners = [0 if slot is None else slot for slot in owners]
        self._take = _take_plan(self._owners, of, device)
        self._no_one = torch.tensor([slot is None for slot in owners], device=device) if None in owners else None

    def product(
        self, x_BTI: torch.Tensor, a_KRI: torch.Tensor, b_KOR: torch.Tensor, scalings: Sequence[float]
    ) -> torch.Tensor:
        """scaling * B A x of each row's own adapter, [B, T, out], in the adapters' dtype."""
        batch, tokens, fan_in = x_BTI.shape
        x_NSI = x_BTI.to(a_KRI.dtype).reshape(-1, self._block * tokens, fan_in)
        a_NRI, b_NOR = self._take(a_KRI), self._take(b_KOR)
        h_NSR = torch.bmm(x_NSI, a_NRI.transpose(1, 2))
        own = [scalings[slot] for slot in self._owners]
        if len(set(own)) == 1:
            h_NSR = h_NSR * own[0]
        else:  # in float32, as PEFT's Python number would be
            factor = torch.tensor(own, device=h_NSR.device)[:, None, None]
            h_NSR = (h_NSR.float() * factor).to(h_NSR.dtype)
        y_NSO = torch.bmm(h_NSR, b_NOR.transpose(1, 2))
        if self._no_one is not None:
            y_NSO = y_NSO.masked_fill(self._no_one[:, None, None], 0.0)
        return y_NSO.view(batch, tokens, -1)


def _take_plan(owners: Sequence[int], of: int, device: torch.device) -> Any:
    """A function from stacks [K, …] to the matrices of each block [N, …], as cheap as the owners allow."""
    if list(owners) == list(range(of)):
        return lambda stack: stack
    order = sorted(range(len(owners)), key=owners.__getitem__)
    unique = sorted(set(owners))
    plan = _TakePlan(
        torch.tensor(owners, device=device),
        torch.tensor(order, device=device) if order != list(range(len(owners))) else None,
        torch.tensor(unique, device=device),
        torch.tensor([owners.count(slot) for slot in unique], device=device) if len(unique) < len(owners) else None,
    )
    return lambda stack: _Take.apply(stack, plan)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _TakePlan:
    """index [N] into the stack; how to order blocks by slot; the slots there are, and how many blocks each has."""

    index: torch.Tensor
    order: torch.Tensor | None
    unique: torch.Tensor
    counts: torch.Tensor | None


class _Take(torch.autograd.Function):
    """stack[index]. Its gradient adds up slot by slot in a fixed order: torch's own would use atomics on a GPU."""

    @staticmethod
    def forward(ctx: Any, stack: torch.Tensor, plan: _TakePlan) -> torch.Tensor:
        ctx.plan, ctx.shape = plan, stack.shape
        return stack.index_select(0, plan.index)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        plan: _TakePlan = ctx.plan
        if plan.order is not None:
            gradient = gradient.index_select(0, plan.order)
        if plan.counts is not None:
            flat = gradient.reshape(len(gradient), -1)
            gradient = torch.segment_reduce(flat, "sum", lengths=plan.counts, axis=0).view(-1, *ctx.shape[1:])
        return gradient.new_zeros(ctx.shape).index_copy_(0, plan.unique, gradient), None
