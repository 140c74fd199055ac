"""What has to be right on a device: where things lie, what they say, what is waited for, and what a full one does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

from adapters.bank.bank import LoraBank, for_adapters
from adapters.base.device import read_no_texts
from adapters.folders.folder import AdapterWeights
from bench.gpu.gang import RANK, Batches, adapter, gang
from bench.gpu.kit import LONG, Kit, Shape, dtype_name
from evaluators.forward.engine import Engine
from evaluators.forward.masks import FLEX_KERNELS
from evaluators.forward.rows import Request, Row, plain_rows, shared_rows

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}  # nats per scored token, beside transformers' own forward pass


def placement(kit: Kit) -> None:
    """Model, bank and results of both kinds of pass."""
    for dtype in kit.dtypes:
        base = kit.checked.model(dtype, kit.device)
        with gang(base, [0, 1], Batches(kit.checked, kit.device, 2, 24)) as two:
            found = two.step()
            tensors = [*base.parameters(), two.bank.sheet, found]
        away = sum(one.device.type != kit.device.type for one in tensors)
        kit.tell("placement", f"tensors elsewhere, {dtype_name(dtype)}", away, holds=away == 0)
        kinds = {one.dtype for one in base.parameters()} | {found.dtype}
        holds = kinds == {dtype, torch.float32}
        kit.tell("placement", f"dtypes, {dtype_name(dtype)}", " ".join(sorted(map(dtype_name, kinds))), holds=holds)


@torch.inference_mode()
def by_transformers(model: Any, requests: list[Request]) -> np.ndarray:
    """Each request by itself, unpadded."""
    found = []
    for one in requests:
        ids = torch.tensor([one.tokens], device=model.device)
        logprobs = model(input_ids=ids[:, :-1], use_cache=False).logits[0].float().log_softmax(-1)
        found.append(float(logprobs.gather(1, ids[0, 1:, None])[-one.n_scored :].sum()))
    return np.array(found)


def scored(engine: Engine, rows: list[Row], count: int) -> np.ndarray:
    return engine.loglikelihoods(rows, count)[0]


def apart(one: np.ndarray, other: np.ndarray, requests: list[Request]) -> float:
    """The largest difference, nats per token that is scored."""
    return float(np.abs((one - other) / np.array([request.n_scored for request in requests])).max())


def parity(kit: Kit) -> None:
    """Plain rows, shared prompts, block masks and banks, beside transformers and PEFT on the same device."""
    shapes = [kit.checked] if kit.tiny else [kit.checked, LONG]
    for shape, dtype in ((shape, dtype) for shape in shapes for dtype in kit.dtypes):
        base, requests = shape.model(dtype, kit.device), shape.requests()
        limit, name, count = TOLERANCE[dtype], f"{shape.name} {dtype_name(dtype)}", len(requests)
        engine, expected = Engine(base), by_transformers(base, requests)
        rows = shared_rows(requests, range(count), max(512, 2 * shape.tokens))
        ways = {"plain": plain_rows(requests, range(count)), "shared": rows}
        for way, own in ways.items():
            off = apart(scored(engine, own, count), expected, requests)
            kit.tell("parity", f"{way}, {name}", off, "nats/token", off <= limit)
        if kit.is_cuda and not kit.tiny:
            engine._masks.flex_from = 128
            off = apart(scored(engine, rows, count), expected, requests)
            ran = engine._masks.flex_from is not None
            kit.tell("parity", f"block masks (FlexAttention), {name}", off, "nats/token", ran and off <= limit)
        _banked(kit, base, requests, name, limit)
    kernels = int(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    kit.tell("parity", "kernels compiled for block masks of all lengths", kernels, holds=kernels < FLEX_KERNELS)


def _banked(kit: Kit, base: Any, requests: list[Request], name: str, limit: float) -> None:
    """Two adapters and the base in every batch, in runs of rows that are not equally long."""
    adapters, count = [adapter(base, seed, 0.05) for seed in (1, 2)], len(requests)
    expected = [with_peft(base, one, requests) for one in adapters] + [by_transformers(base, requests)]
    engine = Engine(base, 1000 if kit.tiny else None)
    engine.bank = for_adapters(base, dict(enumerate(adapters)), 2, base.dtype)
    rows = shared_rows(requests, range(count), 512)
    mixed = [row.numbered_from(n * count, slot) for n, slot in enumerate((0, 1, None)) for row in rows]
    found = scored(engine, mixed, 3 * count).reshape(3, count)
    engine.bank.detach()
    for what, one, other in zip(("adapter 1", "adapter 2", "base alone"), found, expected, strict=True):
        off = apart(one, other, requests)
        kit.tell("parity", f"banked, {what}, {name}", off, "nats/token", off <= limit)


def with_peft(base: Any, one: AdapterWeights, requests: list[Request]) -> np.ndarray:
    wrapped = pefts(base, one, autocast_adapter_dtype=False)
    found = by_transformers(wrapped, requests)
    wrapped.unload()
    return found


def pefts(base: Any, one: AdapterWeights, autocast_adapter_dtype: bool) -> Any:
    """A base within which PEFT's own modules hold an adapter."""
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped: Any = get_peft_model(base, config, autocast_adapter_dtype=autocast_adapter_dtype)
    for name, factors in one.modules.items():
        module = wrapped.get_submodule(f"base_model.model.{name}")
        for part, values in ((module.lora_A, factors.a), (module.lora_B, factors.b)):
            part["default"].weight.data.copy_(values)
    return wrapped


def gangs(kit: Kit) -> None:
    """A gang's members beside each trained alone, and the same gang twice: by the same kernels, bit for bit."""
    steps = 4
    for dtype in kit.dtypes:
        base, batches = kit.checked.model(dtype, kit.device), Batches(kit.checked, kit.device, 2, 40)

        def trained(members: list[int], base: Any = base, batches: Batches = batches) -> torch.Tensor:
            with gang(base, members, batches, dropout=0.1) as some:
                for _ in range(steps):
                    some.step()
                return some.rows()

        together, again = trained([0, 1, 2]), trained([0, 1, 2])
        same = torch.equal(together, again)
        kit.tell("gang", f"twice the same bits, {dtype_name(dtype)}", str(same), holds=same)
        begun = trained_none(base)
        alone = torch.cat([trained([member]) for member in (0, 1, 2)])
        moved = (alone - begun).norm(dim=1)
        off = float(((together - alone).norm(dim=1) / moved).max())
        limit = 1e-3 if dtype == torch.float32 else 0.1
        kit.tell("gang", f"together beside alone, {dtype_name(dtype)}", off, "of what it learned", off <= limit)


def trained_none(base: Any) -> torch.Tensor:
    with gang(base, [0, 1, 2], Batches(SHAPELESS, base.device, 0, 0)) as fresh:
        return fresh.rows()


SHAPELESS = Shape("none", 0, 0, 0, 0, 0, 4, 0, 0)


def memory(kit: Kit) -> None:
    """Out-of-memory halves batches and loses none; a batch of the budget takes what it was thought to take."""
    shape, requests = kit.checked, kit.checked.requests()
    base = shape.model(torch.float32, kit.device)
    rows = plain_rows(requests, range(len(requests)))
    engine = Engine(base, 10**6)
    if kit.is_cuda:
        torch.cuda.reset_peak_memory_stats(kit.device)
        before = torch.cuda.memory_allocated(kit.device)
        expected = scored(engine, rows, len(requests))
        taken = torch.cuda.max_memory_allocated(kit.device) - before
        with limited(kit, taken * 2 // 3):
            found = scored(engine, rows, len(requests))
        off = apart(found, expected, requests)
        kit.tell("memory", "tokens per batch after an out-of-memory", engine.budget, holds=engine.budget < 10**6)
        kit.tell("memory", "scores after it", off, "nats/token", off <= 1e-3)
        estimates(kit, base)
    else:
        kit.tell("memory", "out-of-memory and estimates", "need a GPU")


def estimates(kit: Kit, base: Any) -> None:
    """What a batch of the budget takes, as a share of the third of the free memory that the budget is made for."""
    engine = Engine(base)
    free, _ = torch.cuda.mem_get_info(kit.device)
    rows = plain_rows(kit.checked.requests(64 if not kit.tiny else 1), range(10**6))
    torch.cuda.reset_peak_memory_stats(kit.device)
    before = torch.cuda.memory_allocated(kit.device)
    engine.loglikelihoods(rows, 10**6)
    taken = torch.cuda.max_memory_allocated(kit.device) - before
    kit.tell("memory", f"a batch of {engine.budget} tokens took", taken / 2**30, "GiB")
    kit.tell("memory", "of what it was allowed", taken / (free / 3), "", taken <= free / 3)


@contextmanager
def limited(kit: Kit, room: int) -> Iterator[None]:
    """Within, this process has so many bytes more than it holds."""
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info(kit.device)
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(kit.device) + room) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def waits(kit: Kit) -> None:
    """A step of training and a batch of scoring wait for nothing, as the driver sees it."""
    if not kit.is_cuda:
        kit.tell("waits", "in a step and a batch", "need a GPU")
        return
    read_no_texts()
    base = kit.checked.model(torch.bfloat16, kit.device)
    with gang(base, [0, 1], Batches(kit.checked, kit.device, 2, 40), dropout=0.1) as two:
        two.step()
        with watched():
            two.step()
    kit.tell("waits", "in a step of a gang", 0, holds=True)
    requests = kit.checked.requests()
    rows = shared_rows(requests, range(len(requests)), 512)
    engine = Engine(base, 4096)
    bank: LoraBank = for_adapters(base, {0: adapter(base, 1, 0.05)}, 1, base.dtype)
    engine.bank = bank
    mixed = [row.numbered_from(0, slot) for slot, count in ((0, 4), (None, 3)) for row in rows[:count]]
    engine._forward(mixed)
    with watched():
        engine._forward(mixed)
    bank.detach()
    kit.tell("waits", "in a batch with a bank", 0, holds=True)


@contextmanager
def watched() -> Iterator[None]:
    """Within, a wait raises."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
