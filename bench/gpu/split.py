"""A base over two GPUs, beside the same on one: what it says, with a bank and without, and how fast."""

from __future__ import annotations

import tempfile
from typing import Any

import torch

from adapters.base.loading import load_model
from bench.gpu.checks import TOLERANCE, apart, scored
from bench.gpu.gang import adapter
from bench.gpu.kit import Kit, dtype_name
from evaluators.forward.engine import Engine
from evaluators.forward.rows import shared_rows
from evaluators.subjects.sharing import bank_on
from study.models.resolve import Model


def split(kit: Kit) -> None:
    """In both dtypes; it needs two GPUs."""
    if not kit.is_cuda or torch.cuda.device_count() < 2:
        kit.tell("split", "a base over two GPUs", "needs two")
        return
    devices = [torch.device("cuda", number) for number in range(2)]
    requests = kit.checked.requests()
    count, rows = len(requests), shared_rows(requests, range(len(requests)), 512)
    banked = [row.numbered_from(0, 0) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        kit.checked.model(torch.float32, torch.device("cpu")).save_pretrained(folder)
        for dtype in kit.dtypes:
            model = Model("m", folder, None, "m", dtype_name(dtype), "m", 0.0, 0, False, ())
            bases: list[Any] = [load_model(model).to(devices[0]), load_model(model, *devices)]  # type: ignore[arg-type]
            engines = [Engine(base.eval().requires_grad_(False)) for base in bases]
            one, two = (scored(engine, rows, count) for engine in engines)
            _tell(kit, f"the base, {dtype_name(dtype)}", apart(two, one, requests), TOLERANCE[dtype])
            found = []
            for engine in engines:
                with bank_on(engine, [adapter(engine.model, 1, 0.05)]):
                    found.append(scored(engine, banked, count))
            _tell(kit, f"banked, {dtype_name(dtype)}", apart(found[1], found[0], requests), TOLERANCE[dtype])
            alone, both = (kit.seconds(lambda engine=engine: scored(engine, rows, count)) for engine in engines)
            kit.tell("split", f"seconds beside those of one GPU, {dtype_name(dtype)}", both / alone)


def _tell(kit: Kit, what: str, off: float, limit: float) -> None:
    kit.tell("split", f"{what}, beside one GPU", off, "nats/token", off <= limit)
