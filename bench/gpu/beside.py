"""What needs the rest of the environment: lm-eval beside our scores, DeepSpeed's stages, NCCL between all GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch

from bench.gpu.kit import Kit, dtype_name
from bench.gpu.writing import writing

MODEL = Path("examples/quickstart/polyglot-nano")  # a tokenizer, and a small model that has learned something
SECONDS = 150


def lm_eval(kit: Kit) -> None:
    """Scores beside lm-eval's `hf` model, plain, shared and with PEFT; a difference over the tolerance ends it."""
    for dtype in ("float32", "bfloat16"):
        asked = [str(MODEL), "--items", "8" if kit.tiny else "48", "--rounds", "1", "--dtype", dtype, "--at-once", "2"]
        ran = _ran("bench.scoring", *asked, *(["--threads", "1"] if kit.tiny else []))
        kit.tell("lm-eval", f"the same scores, {dtype}", _last(ran), holds=ran.returncode == 0)


def random_weights(kit: Kit) -> None:
    """The same at 1B, with times beside lm-eval's at the batch size that it does best at."""
    if kit.tiny:
        return
    ran = _ran("bench.scoring", str(MODEL), "--random", "llama-1b", "--dtype", "bfloat16", "--rounds", "1")
    for line in ran.stdout.splitlines():
        kit.tell("lm-eval", "1B, random weights", line)


def deepspeed(kit: Kit) -> None:
    """The same gang at all stages, in both precisions: what it comes to by the last epoch's loss."""
    from study.config import Lora, ModelConfig, Recipe, Training, Validation
    from study.data.example import Example
    from study.models.resolve import resolve
    from trainers.job import Job, Setup, Trained
    from trainers.worker import Worker

    recipe = Recipe(
        lora=Lora(r=4, alpha=8, dropout=0.1), epochs=2, batch_size=4, validation=Validation(fraction=0.2, keep="last")
    )
    words = ("one", "two", "three", "four", "five", "six")
    examples = tuple(Example(f"{a} {b} is", f" {b} {a}") for a in words for b in words)[: 12 if kit.tiny else 36]
    jobs, worker = [Job(name, seed, examples) for seed, name in enumerate("ab")], Worker(0, 1)
    for dtype in ("float32",) if kit.tiny else ("float32", "bfloat16"):
        model, losses = resolve(ModelConfig(id=str(MODEL)), dtype, "models[0]"), []
        for stage in (2,) if kit.tiny else (0, 1, 2, 3):
            how = Training.model_validate({"deepspeed": {"zero_optimization": {"stage": stage}}})
            with tempfile.TemporaryDirectory() as out:
                found = worker.train(Setup(model, recipe, how), jobs, Path(out))
            losses.append([one.course.epochs[-1].validation_loss for one in found if isinstance(one, Trained)])
            kit.tell("deepspeed", f"ZeRO {stage}, {dtype}", f"{losses[-1]}", "nats", len(losses[-1]) == 2)
        off = max(abs((a or 0) - (b or 0)) for one in losses for a, b in zip(one, losses[0], strict=True))
        kit.tell("deepspeed", f"stages apart, {dtype}", off, "nats", off <= (1e-4 if dtype == "float32" else 0.05))


def steps(kit: Kit) -> None:
    """What steps of gangs hold, with DeepSpeed, and how many adapters `gang_size: auto` takes where so much is."""
    from bench.memory import CASES, Case, taken
    from trainers.world import World

    world, gang = World(0, 1), 8
    if not torch.distributed.is_initialized():
        world.join(world.address())
    for (shape, recipe), dtype in product(CASES[:1] if kit.tiny else CASES, kit.dtypes):
        weight, token, counted = taken(Case(shape, recipe, dtype), gang, world)
        what = f"{shape.name}, {recipe}, {dtype_name(dtype)}"
        kit.tell("steps", f"bytes of a weight between steps, {what}", weight)
        kit.tell("steps", f"KiB of a token in a step, {what}", token)
        close = 0.85 * gang <= counted <= 1.15 * gang
        kit.tell("steps", f"the gang that is asked for where {gang} were, {what}", counted, "adapters", close)


def nccl(kit: Kit) -> None:
    """A sum over all GPUs, and its speed."""
    count = torch.cuda.device_count()
    if kit.tiny or count < 2:
        kit.tell("nccl", "GPUs", count, "no others to meet" if count < 2 else "")
        return
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29577")
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_meet, (count, folder), nprocs=count)
        seconds = float((Path(folder) / "seconds").read_text())
    kit.tell("nccl", f"1 GiB summed over {count} GPUs", 2 * (count - 1) / count / seconds, "GiB/s of the bus", True)


def _meet(rank: int, count: int, folder: str) -> None:
    torch.cuda.set_device(rank)
    torch.distributed.init_process_group("nccl", rank=rank, world_size=count)
    values = torch.full((2**28,), float(rank), device="cuda")
    torch.distributed.all_reduce(values)
    assert bool((values == count * (count - 1) / 2).all())
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    torch.distributed.all_reduce(values)
    end.record()
    torch.cuda.synchronize()
    if rank == 0:
        (Path(folder) / "seconds").write_text(str(begin.elapsed_time(end) / 1000))
    torch.distributed.destroy_process_group()


def _ran(module: str, *arguments: str) -> Any:
    """A benchmark in a process of its own, with the device to itself."""
    command = [sys.executable, "-m", module, *arguments]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)


def _last(ran: Any) -> str:
    """What it said in the end."""
    said = (ran.stdout if ran.returncode == 0 else ran.stderr).strip().splitlines()
    return said[-1][:300] if said else f"exit code {ran.returncode}"


BESIDE: dict[str, Callable[[Kit], None]] = {
    "lm-eval": lm_eval,
    "writing": writing,
    "deepspeed": deepspeed,
    "steps": steps,
    "nccl": nccl,
    "lm-eval at 1B": random_weights,
}
