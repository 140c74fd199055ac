"""Bases whose weights are quantised: what they say beside PEFT's modules, what a gang learns, and what they hold."""

from __future__ import annotations

import tempfile
from typing import Any

import torch

from adapters.base import load_model
from adapters.quantising.weights import learning, prepare
from bench.gpu.checks import apart, by_transformers, scored, with_peft
from bench.gpu.gang import Batches, adapter, gang
from bench.gpu.kit import Kit, dtype_name
from evaluators.forward.engine import Engine
from evaluators.forward.rows import plain_rows
from evaluators.subjects.sharing import bank_on
from study.models.quantised import BYTES
from study.models.resolve import Model

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
            _parity(kit, base, name, TOLERANCE.get((quantization, dtype), 0.1))
            _gang(kit, base, name, 1e-3 if (quantization, dtype) in TOLERANCE else 0.1, quantization == "nf4")


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


def _gang(kit: Kit, base: Any, name: str, limit: float, shares: bool) -> None:
    """Two adapters together beside one alone; where none share a batch, one twice."""

    def trained(members: list[int]) -> torch.Tensor:
        with learning(base), gang(base, members, Batches(kit.checked, kit.device, 2, 40)) as some:
            begun = some.rows()
            for _ in range(4):
                some.step()
            return some.rows()[0] - begun[0]

    alone = trained([0])
    off = float((trained([0, 1] if shares else [0]) - alone).norm() / alone.norm())
    what = "a gang beside one alone" if shares else "one twice"
    kit.tell("quantised", f"{what}, {name}", off, "of what it learned", off <= limit)
