"""Whether a way to put LoRA on a base comes to what PEFT's modules beside the matrices compute.

An adapter that does too little shows no difference, so both are made stronger until a difference would show. Where a
way leaves some rows of a batch to the base, these must say what the base alone says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import peft
import torch
from transformers import PreTrainedModel

from adapters.bank.bank import for_adapters
from adapters.base.probe import Agreement, agreement, precision, said, tokens_of
from adapters.folders.folder import MAGNITUDE, AdapterWeights, Factors
from adapters.modules.loaded import runs

Way = Callable[[PreTrainedModel, AdapterWeights], AbstractContextManager[Sequence[int] | None]]
"""Within, the base has the adapter, but on the rows of a probe's batch whose numbers it gives."""

SLOTS = (0, None, 0)  # whose the rows of a probe's batch are in a bank: one of the base between two of the adapter
SHARE = 0.1  # of what a matrix of its size would do at its start: by so much an adapter at random changes a module
STRONGER, STEPS = 4.0, 7  # times an adapter is made stronger at most, and by what


@contextmanager
def banked(base: PreTrainedModel, adapter: AdapterWeights, dtype: torch.dtype | None = None) -> Iterator[Sequence[int]]:
    """Within, the base reads rows of a probe's batch with one adapter of a bank, and those between without."""
    bank = for_adapters(base, {0: adapter}, 1, dtype or base.dtype)
    try:
        with bank.rows(SLOTS):
            yield [row for row, slot in enumerate(SLOTS) if slot is None]
    finally:
        bank.detach()


def compared(
    base: PreTrainedModel, way: Way, adapter: AdapterWeights, wrapped: peft.PeftModel, alone_BTV: torch.Tensor
) -> Agreement:
    """What an adapter put on in a way says, beside the same one as PEFT's modules; the base says `alone`."""
    tokens_BT = tokens_of(base)
    with way(base, adapter) as bare:
        ours_BTV = said(base, tokens_BT)
    theirs_BTV = said(runs(wrapped), tokens_BT)
    for row in bare or ():
        theirs_BTV[row] = alone_BTV[row]
    return agreement(ours_BTV, theirs_BTV, alone_BTV, precision(base))


def compared_strongly(
    base: PreTrainedModel, way: Way, adapter: AdapterWeights, wrapped: peft.PeftModel, alone_BTV: torch.Tensor
) -> Agreement:
    """The same of an adapter whose B is no zero, made stronger in both until it tells. PEFT's stays so."""
    found = compared(base, way, adapter, wrapped, alone_BTV)
    for _ in range(STEPS):
        if found.tells or not found.holds:
            break
        adapter = AdapterWeights({name: replace(own, b=own.b * STRONGER) for name, own in adapter.modules.items()})
        fill(wrapped, adapter)
        found = compared(base, way, adapter, wrapped, alone_BTV)
    return found


@torch.no_grad()
def fill(wrapped: peft.PeftModel, adapter: AdapterWeights) -> None:
    """Write an adapter's matrices into PEFT's modules of the same shapes."""
    for name, factors in adapter.modules.items():
        module = runs(wrapped).get_submodule(name)
        module.get_parameter("lora_A.default.weight").copy_(factors.a)
        module.get_parameter("lora_B.default.weight").copy_(factors.b)
        if factors.magnitude is not None:
            module.get_parameter(f"{MAGNITUDE}.default.weight").copy_(factors.magnitude)


def at_random(shapes: Mapping[str, tuple[int, int, int]], scalings: Mapping[str, float]) -> AdapterWeights:
    """Weights that change each module a little, by its name; a shape is rank, inputs and outputs."""
    draw = torch.Generator().manual_seed(0)
    modules = {}
    for name, (rank, fan_in, fan_out) in shapes.items():
        a_RI = torch.randn(rank, fan_in, generator=draw) / fan_in**0.5
        b_OR = SHARE / (scalings[name] or 1.0) * torch.randn(fan_out, rank, generator=draw) / rank**0.5
        modules[name] = Factors(a_RI, b_OR, scalings[name])
    return AdapterWeights(modules)
