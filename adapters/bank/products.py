"""Whose rows a batch holds, and the low-rank product of each row's own adapter as two batched GEMMs.

A batch is cut into equal blocks of rows of one adapter: as long as its runs of rows allow, else of single rows. So a
block never holds rows of two adapters. Where no gradient is asked for, unequal runs go through a grouped GEMM instead,
which reads each adapter once, not once per block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

import torch

from adapters.base.device import on_device

GROUPING = (9, 10)  # major numbers of the GPUs for which torch (2.13) has a grouped GEMM


class Rows:
    """Which slot each row of a batch belongs to; None where it is the base's alone."""

    def __init__(self, slots: Sequence[int | None], of: int, device: torch.device) -> None:
        self.count = len(slots)
        runs = [(slot, len(list(run))) for slot, run in groupby(slots)]
        self._block = math.gcd(*(length for _, length in runs))
        self._runs = _Runs(runs, device) if len(runs) < self.count // self._block else None
        owners = slots[:: self._block]
        self._blocks = len(owners)
        self.used = [slot for slot in owners if slot is not None]
        self._take = _take_plan([0 if slot is None else slot for slot in owners], of, device)
        self._scaling = _Scalings(owners, device)
        self._nobody = _nobody(owners, device)

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
        scaling, blocks = self._scaling.of(scalings), self._blocks
        return _AddLowRank.apply(y_BTO, x_BTI, self._take(a_KRI), self._take(b_KOR), scaling, self._nobody, blocks)  # type: ignore[no-any-return,no-untyped-call]

    def scaled(self, scale_KO: torch.Tensor, y_BTO: torch.Tensor, around_O: torch.Tensor | None) -> torch.Tensor:
        """around + scale * (y - around) of each row's own adapter; rows that are the base's alone stay."""
        y_NSO = y_BTO.reshape(self._blocks, -1, y_BTO.shape[-1])
        scale_N1O = self._take(scale_KO)[:, None].to(y_BTO.dtype)
        moved = y_NSO * scale_N1O if around_O is None else around_O + (y_NSO - around_O) * scale_N1O
        if self._nobody is not None:
            moved = torch.where(self._nobody, y_NSO, moved)
        return moved.view(y_BTO.shape)


def _can_group(x_BTI: torch.Tensor, a_KRI: torch.Tensor, b_KOR: torch.Tensor) -> bool:
    """Whether torch's grouped GEMM takes these: in rows of whole 16 bytes, on a GPU bfloat16 only.

    GPUs before Hopper, and those after Blackwell's first, have no kernel for it: torch would wait for the ends of the
    runs and go through them one by one.
    """
    aligned = all(size * a_KRI.dtype.itemsize % 16 == 0 for size in (*a_KRI.shape[1:], b_KOR.shape[1]))
    if not aligned or x_BTI.device.type == "cpu":
        return aligned
    return a_KRI.dtype == torch.bfloat16 and torch.cuda.get_device_capability(x_BTI.device)[0] in GROUPING


class _Scalings:
    """What each block's product is multiplied by, made for a device once; nothing where it is the base's alone."""

    def __init__(self, owners: Sequence[int | None], device: torch.device) -> None:
        self._owners, self._device = owners, device
        self._known: dict[tuple[float, ...], float | torch.Tensor] = {}

    def of(self, scalings: Sequence[float]) -> float | torch.Tensor:
        """By the adapters' scalings: a number where all blocks have the same, else [N, 1, 1]."""
        own = tuple(0.0 if slot is None else scalings[slot] for slot in self._owners)
        if own not in self._known:
            alike = len(set(own)) == 1
            self._known[own] = own[0] if alike else on_device(own, self._device)[:, None, None]
        return self._known[own]


def _nobody(owners: Sequence[int | None], device: torch.device) -> torch.Tensor | None:
    """Which blocks are the base's alone [N, 1, 1]; None where there are none."""
    alone = [slot is None for slot in owners]
    return on_device(alone, device)[:, None, None] if any(alone) else None


class _Runs:
    """Runs of rows of one slot, of unequal lengths."""

    def __init__(self, runs: Sequence[tuple[int | None, int]], device: torch.device) -> None:
        owners = [slot for slot, length in runs for _ in range(length)]
        self._index = on_device([0 if slot is None else slot for slot, _ in runs], device)
        self._ends = on_device(list(accumulate(length for _, length in runs)), device, torch.int32)
        self._scaling, self._nobody = _Scalings(owners, device), _nobody(owners, device)

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
        h_BTR = _scaled(h_BTR, self._scaling.of(scalings))
        update = torch.nn.functional.grouped_mm(h_BTR.flatten(0, 1), b_NRO, offs=ends).view(y_BTO.shape)
        return y_BTO.add_(update if self._nobody is None else update.masked_fill_(self._nobody, 0.0))


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
        on_device(owners, device),
        on_device(order, device) if order != list(range(len(owners))) else None,
        on_device(unique, device),
        on_device([owners.count(slot) for slot in unique], device) if len(unique) < len(owners) else None,
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
            # Unsafe: the lengths are right, and are not read to see whether they are.
            summed = torch.segment_reduce(flat, "sum", lengths=plan.counts, axis=0, unsafe=True)
            gradient = summed.view(-1, *ctx.shape[1:])
        return gradient.new_zeros(ctx.shape).index_copy_(0, plan.unique, gradient), None
