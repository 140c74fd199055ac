"""Whose rows a batch holds, and the low-rank product of each row's own adapter as two batched GEMMs.

A batch is cut into equal blocks of rows of one adapter: as long as its runs of rows allow, else of single rows. So a
block never holds rows of two adapters. Where no gradient is asked for, unequal runs go through a grouped GEMM instead,
which reads each adapter once, not once per block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch


class Rows:
    """Which slot each row of a batch belongs to; None where it is the base's alone."""

    def __init__(self, slots: Sequence[int | None], of: int, device: torch.device) -> None:
        self.count = len(slots)
        runs = [(slot, len(list(run))) for slot, run in groupby(slots)]
        self._block = math.gcd(*(length for _, length in runs))
        self._runs = _Runs(runs, device) if len(runs) < self.count // self._block else None
        owners = slots[:: self._block]
        self.used = [slot for slot in owners if slot is not None]
        self._owners = [0 if slot is None else slot for slot in owners]
        self._take = _take_plan(self._owners, of, device)
        self._no_one = [slot is None for slot in owners] if None in owners else None

    def add_product(
        self,
        y_BTO: torch.Tensor,
        x_BTI: torch.Tensor,
        a_KRI: torch.Tensor,
        b_KOR: torch.Tensor,
        scalings: Sequence[float],
    ) -> torch.Tensor:
        """y + scaling * B A x of each row's own adapter, in place; computed in the adapters' dtype."""
        if self._runs is not None and not torch.is_grad_enabled() and _can_group(x_BTI, a_KRI, b_KOR):
            return self._runs.add_product(y_BTO, x_BTI, a_KRI, b_KOR, scalings)
        own = [scalings[slot] for slot in self._owners]
        if self._no_one is not None:
            own = [0.0 if nobody else scaling for nobody, scaling in zip(self._no_one, own, strict=True)]
        scaling = own[0] if len(set(own)) == 1 else torch.tensor(own, device=x_BTI.device)[:, None, None]
        nobody = None if self._no_one is None else torch.tensor(self._no_one, device=x_BTI.device)[:, None, None]
        blocks = len(self._owners)
        return _AddLowRank.apply(y_BTO, x_BTI, self._take(a_KRI), self._take(b_KOR), scaling, nobody, blocks)  # type: ignore[no-any-return,no-untyped-call]

    def scaled(self, scale_KO: torch.Tensor, y_BTO: torch.Tensor, around_O: torch.Tensor | None) -> torch.Tensor:
        """around + scale * (y - around) of each row's own adapter; rows that are the base's alone stay."""
        y_NSO = y_BTO.reshape(len(self._owners), -1, y_BTO.shape[-1])
        scale_N1O = self._take(scale_KO)[:, None].to(y_BTO.dtype)
        moved = y_NSO * scale_N1O if around_O is None else around_O + (y_NSO - around_O) * scale_N1O
        if self._no_one is not None:
            moved = torch.where(torch.tensor(self._no_one, device=moved.device)[:, None, None], y_NSO, moved)
        return moved.view(y_BTO.shape)


def _can_group(x_BTI: torch.Tensor, a_KRI: torch.Tensor, b_KOR: torch.Tensor) -> bool:
    """Whether torch's grouped GEMM takes these: in rows of whole 16 bytes, on a GPU bfloat16 only."""
    aligned = all(size * a_KRI.dtype.itemsize % 16 == 0 for size in (*a_KRI.shape[1:], b_KOR.shape[1]))
    return aligned and (x_BTI.device.type == "cpu" or a_KRI.dtype == torch.bfloat16)


class _Runs:
    """Runs of rows of one slot, of unequal lengths."""

    def __init__(self, runs: Sequence[tuple[int | None, int]], device: torch.device) -> None:
        lengths = torch.tensor([length for _, length in runs])
        self._owners = [0 if slot is None else slot for slot, _ in runs]
        self._index = torch.tensor(self._owners, device=device)
        self._ends = lengths.cumsum(0).to(device, torch.int32)
        self._run_of_row = torch.repeat_interleave(lengths).to(device)
        self._no_one = [slot is None for slot, _ in runs]
        self._nobody = torch.tensor(self._no_one, device=device)[self._run_of_row][:, None, None]

    def add_product(
        self,
        y_BTO: torch.Tensor,
        x_BTI: torch.Tensor,
        a_KRI: torch.Tensor,
        b_KOR: torch.Tensor,
        scalings: Sequence[float],
    ) -> torch.Tensor:
        rows, tokens, _ = x_BTI.shape
        ends = self._ends * tokens
        a_NIR, b_NRO = a_KRI[self._index].transpose(1, 2), b_KOR[self._index].transpose(1, 2)
        x_SI = x_BTI.to(a_KRI.dtype).reshape(rows * tokens, -1)
        h_BTR = torch.nn.functional.grouped_mm(x_SI, a_NIR, offs=ends).view(rows, tokens, -1)
        own = torch.tensor([scalings[slot] for slot in self._owners], device=x_BTI.device)
        h_BTR = _scaled(h_BTR, own[self._run_of_row][:, None, None])
        update = torch.nn.functional.grouped_mm(h_BTR.flatten(0, 1), b_NRO, offs=ends).view(y_BTO.shape)
        return y_BTO.add_(update.masked_fill_(self._nobody, 0.0) if any(self._no_one) else update)


class _AddLowRank(torch.autograd.Function):
    """y + s B A x over N blocks of rows, in place on y: a chain of torch's own operations would copy y, and keep it."""

    @staticmethod
    def forward(
        ctx: Any,
        y: torch.Tensor,
        x: torch.Tensor,
        a_NRI: torch.Tensor,
        b_NOR: torch.Tensor,
        scaling: float | torch.Tensor,
        nobody: torch.Tensor | None,
        blocks: int,
    ) -> torch.Tensor:
        x_NSI = x.to(a_NRI.dtype).reshape(blocks, -1, x.shape[-1])
        h_NSR = _scaled(torch.bmm(x_NSI, a_NRI.transpose(1, 2)), scaling)
        y_NSO, b_NRO = y.view(blocks, -1, y.shape[-1]), b_NOR.transpose(1, 2)
        if nobody is None and y.dtype == h_NSR.dtype:
            y_NSO.baddbmm_(h_NSR, b_NRO)
        else:
            update = torch.bmm(h_NSR, b_NRO)
            y_NSO.add_(update if nobody is None else update.masked_fill_(nobody, 0.0))
        ctx.save_for_backward(x_NSI, h_NSR, a_NRI, b_NOR)
        ctx.scaling, ctx.x_shape, ctx.x_dtype = scaling, x.shape, x.dtype
        ctx.mark_dirty(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_NSI, h_NSR, a_NRI, b_NOR = ctx.saved_tensors
        g_NSO = gradient.to(b_NOR.dtype).reshape(len(b_NOR), -1, gradient.shape[-1])
        gh_NSR = _scaled(torch.bmm(g_NSO, b_NOR), ctx.scaling)
        _, x_wanted, a_wanted, b_wanted, *_ = ctx.needs_input_grad
        gx = torch.bmm(gh_NSR, a_NRI).view(ctx.x_shape).to(ctx.x_dtype) if x_wanted else None
        ga = torch.bmm(gh_NSR.transpose(1, 2), x_NSI) if a_wanted else None
        gb = torch.bmm(g_NSO.transpose(1, 2), h_NSR) if b_wanted else None
        return gradient, gx, ga, gb, None, None, None


def _scaled(h_NSR: torch.Tensor, scaling: float | torch.Tensor) -> torch.Tensor:
    """h times its blocks' scalings, in float32 where they differ, as PEFT's Python number would be."""
    if isinstance(scaling, torch.Tensor):
        return (h_NSR.float() * scaling).to(h_NSR.dtype)
    return h_NSR if scaling == 1.0 else h_NSR.mul_(scaling)


def _take_plan(owners: Sequence[int], of: int, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
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
