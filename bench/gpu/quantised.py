"""Bases whose weights are quantised: what they say beside PEFT's modules, what a gang learns, and what they hold."""

from __future__ import annotations

import tempfile
from typing import Any

import torch

from adapters.base.loading import load_model
from adapters.quantising.weights import learning, prepare
from bench.gpu.checks import apart, by_transformers, pefts, scored, with_peft
from bench.gpu.gang import Batches, adapter, gang
from bench.gpu.kit import Kit, dtype_name
from evaluators.forward.engine import Engine
from evaluators.forward.rows import plain_rows
from evaluators.subjects.sharing import bank_on
from study.models.quantised import BYTES
from study.models.resolve import Model
from trainers.loss import losses

TOLERANCE = {("nf4", torch.float32): 1e-3}  # nats per scored token; else 0.1, as in half precision


def quantised(kit: Kit) -> None:
    """Of both ways to quantise, in both dtypes."""
    prepare()
    from bitsandbytes.cextension import CudaBNBNativeLibrary, lib

    if kit.is_cuda and not isinstance(lib, CudaBNBNativeLibrary):
        kit.tell("quantised", "left out", "bitsandbytes has no library for this device")
        return
    with tempfile.TemporaryDirectory() as folder:
        kit.checked.model(torch.float32, torch.device("cpu")).save_pretrained(folder)
        for quantization, dtype in ((one, dtype) for one in ("nf4", "int8") for dtype in kit.dtypes):
            name = f"{quantization}, {dtype_name(dtype)}"
            before = torch.cuda.memory_allocated(kit.device) if kit.is_cuda else 0
            base: Any = load_model(_model(folder, quantization, dtype), kit.device).eval().requires_grad_(False)
            if kit.is_cuda:
                _memory(kit, base, torch.cuda.memory_allocated(kit.device) - before, quantization, name)
            limit = TOLERANCE.get((quantization, dtype), 0.1)
            _parity(kit, base, name, limit)
            _gradients(kit, base, name, limit)
            if quantization == "nf4":  # of the others rows of a batch move one another
                _gang(kit, base, name, limit)


def _model(folder: str, quantization: str, dtype: torch.dtype) -> Model:
    return Model("m", folder, None, "m", dtype_name(dtype), "m", 0.0, 0, False, (), quantization=quantization)


def _memory(kit: Kit, base: Any, held: int, quantization: str, name: str) -> None:
    ends = sum(weight.numel() * weight.itemsize for weight in base.parameters() if weight.is_floating_point())
    linear = sum(one.in_features * one.out_features for one in base.model.modules() if isinstance(one, torch.nn.Linear))
    thought = ends + linear * BYTES[quantization]
    kit.tell("quantised", f"bytes held beside those thought, {name}", held / thought, holds=held <= 1.1 * thought)


def _parity(kit: Kit, base: Any, name: str, limit: float) -> None:
    requests = kit.checked.requests()
    rows, count, one = plain_rows(requests, range(len(requests))), len(requests), adapter(base, 1, 0.05)
    engine, alone = Engine(base), by_transformers(base, requests)
    off = apart(scored(engine, rows, count), alone, requests)
    kit.tell("quantised", f"base beside transformers, {name}", off, "nats/token", off <= limit)
    with bank_on(engine, [one]):
        found = scored(engine, [row.numbered_from(0, 0) for row in rows], count)
    off = apart(found, with_peft(base, one, requests), requests)
    kit.tell("quantised", f"banked beside PEFT, {name}", off, "nats/token", off <= limit)


def _gradients(kit: Kit, base: Any, name: str, limit: float) -> None:
    """Of a step of one adapter, beside those of PEFT's own modules: of B, for A's are 0 where B is."""
    batches = Batches(kit.checked, kit.device, 2, 40)
    with learning(base), gang(base, [0], batches) as alone:
        alone.learn()
        ours = alone.bank.get(0, alone.bank.sheet.grad).modules
    wrapped = pefts(base, adapter(base, 0), autocast_adapter_dtype=True)
    ids_BT, targets_N = batches.of([0], 0)
    with learning(base):
        losses(wrapped(input_ids=ids_BT, use_cache=False).logits.flatten(0, 1), targets_N).mean().backward()
    modules = {one: wrapped.get_submodule(f"base_model.model.{one}") for one in ours}
    theirs = {one: module.lora_B["default"].weight.grad.cpu() for one, module in modules.items()}
    wrapped.unload()
    off, size = (
        sum(float((factor * ours[one].b - theirs[one]).square().sum()) for one in ours) ** 0.5 for factor in (1, 0)
    )
    kit.tell("quantised", f"gradients beside PEFT's, {name}", off / size, "of their size", off <= limit * size)


def _gang(kit: Kit, base: Any, name: str, limit: float) -> None:
    """Two adapters together beside one alone."""

    def trained(members: list[int]) -> torch.Tensor:
        with learning(base), gang(base, members, Batches(kit.checked, kit.device, 2, 40)) as some:
            begun = some.rows()
            for _ in range(4):
                some.step()
            return some.rows()[0] - begun[0]

    alone = trained([0])
    off = float((trained([0, 1]) - alone).norm() / alone.norm())
    kit.tell("quantised", f"a gang beside one alone, {name}", off, "of what it learned", off <= limit)
