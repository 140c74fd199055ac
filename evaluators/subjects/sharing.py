"""Several adapters in one batch: whether it pays, and the bank that holds them meanwhile."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from adapters.bank.bank import for_adapters
from adapters.base.device import room
from adapters.folders.folder import AdapterWeights
from adapters.quantising.weights import any_quantised
from evaluators.forward.engine import Engine
from evaluators.forward.rows import Request, plain_rows
from evaluators.subjects.on_base import merged

MOST_ADAPTERS = 16
MOST_PADDED = 4  # times the smallest rank of a bank is its largest: a sum may stand beside its parts, a full rank not
PART_OF_ROOM = 1 / 4  # that a bank may take of a GPU's free memory: activations have a third of it (forward.engine)
CANCELLED = 0.1  # of what a module's factors would come to by size: what rounds them is ten times as large beside less
FULL_BATCHES = 4  # with fewer batches than this, the last one, which is rarely full, is a large part of the time


def adapters_per_batch(device: str, budget: int, tokens: int) -> int:
    """How many adapters to score at once, when each has `tokens` to read and a batch holds `budget`.

    On a CPU one: merged into the weights it costs nothing per token, and a batch fills the cores. On a GPU as many as
    it takes to fill some batches: a big model or a long list of items fills them with one.
    """
    if device == "cpu":
        return 1
    return min(MOST_ADAPTERS, math.ceil(FULL_BATCHES * budget / max(1, tokens)))


def most_ranks(base: PreTrainedModel, adapters: Sequence[AdapterWeights]) -> float:
    """How many ranks a bank of some of these may have, all slots together, by what GPUs have room for.

    A rank is a row of A and a column of B in every module that any of them adapts, in float32 at most. Where a base is
    split, each of these lies beside its module.
    """
    if base.device.type != "cuda":
        return math.inf
    sides = Counter[torch.device]()
    for name, own in {name: own for one in adapters for name, own in one.modules.items()}.items():
        sides[base.get_parameter(f"{name}.weight").device] += len(own.b) + own.a.shape[1]
    fitting = (room(device) / (torch.float32.itemsize * numbers) for device, numbers in sides.items())
    return PART_OF_ROOM * min(fitting, default=math.inf)


def by_rank(ranks: Sequence[int], many: int, most: float) -> list[list[int]]:
    """Which adapters share a bank, by their places in `ranks`: those of like rank, the smallest first.

    They are `many` at most, of `most` ranks together. A bank fills all up with zeros to its largest, and a full rank
    is a hundred times that of a trained adapter.
    """
    banks: list[list[int]] = []
    for place in sorted(range(len(ranks)), key=ranks.__getitem__):
        own, rank = banks[-1] if banks else [], ranks[place]
        fits = len(own) < many and (len(own) + 1) * rank <= most
        if own and fits and rank <= MOST_PADDED * ranks[own[0]]:
            own.append(place)
        else:
            banks.append([place])
    return banks


@contextmanager
def bank_on(engine: Engine, adapters: Sequence[AdapterWeights]) -> Iterator[None]:
    """Within, rows of the engine with slot i are read with adapters[i], rows without one by the base alone.

    Their factors have the base's precision, or float32, as PEFT keeps them, where those of one cancel out.
    """
    base = engine.model
    exact = base.dtype == torch.float32 or any(map(_cancels, adapters))
    dtype = torch.float32 if exact else base.dtype
    engine.bank = for_adapters(base, dict(enumerate(adapters)), len(adapters), dtype)
    try:
        yield
    finally:
        engine.bank.detach()
        engine.bank = None


@contextmanager
def alone_on(engine: Engine, adapter: AdapterWeights) -> Iterator[int | None]:
    """Within, the engine's base has the adapter; gives the slot that its rows have to have. None where it is merged."""
    if any_quantised(engine.model, adapter.modules):
        with bank_on(engine, [adapter]):
            yield 0
    else:
        with merged(engine.model, adapter):
            yield None


def loss(engine: Engine, adapter: AdapterWeights, requests: Sequence[Request]) -> float:
    """What an adapter loses on texts, in nats per token that is scored."""
    with alone_on(engine, adapter) as slot:
        rows = [row.numbered_from(0, slot) for row in plain_rows(requests, range(len(requests)))]
        told, _ = engine.loglikelihoods(rows, len(requests))
    return -float(told.sum()) / sum(request.n_scored for request in requests)


def _cancels(adapter: AdapterWeights) -> bool:
    """Whether products of some module nearly cancel out, as those of a start that was taken out of the base do."""
    for own in adapter.modules.values():
        a, b = own.a.float(), own.b.float()
        left = ((a @ a.T) * (b.T @ b)).sum()  # ‖BA‖²
        if left < CANCELLED**2 * (a.square().sum(1) * b.square().sum(0)).sum():
            return True
    return False
