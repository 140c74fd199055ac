"""What a training step holds, beside what is counted on for it: `python -m bench.memory` over shapes, gangs and passes.

A step is the engine's own, with DeepSpeed, on a Llama with random weights on this machine's CPU; a GPU has to be
hidden. Counted are the bytes of all tensors that torch's profiler sees come and go, so nothing else that runs here
moves a figure. Held are what the step leaves behind (adapters, their gradients, moments and master weights), beside
`BYTES_PER_WEIGHT`, and the most that is there on top of that within the step, which is activations and logits.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from typing import Any

import torch
from torch.autograd import DeviceType

from adapters.folders.sites import sites_named
from adapters.folders.targeting import meant
from adapters.kinds.kind import kind_of
from bench.gpu.kit import Shape
from orchestrator.scheduling.gangs import BYTES_PER_WEIGHT
from study.config import Lora, Recipe, Training
from trainers.batch import GangRow, collate
from trainers.data import Row
from trainers.engine import Start, opened
from trainers.settings import engine_config
from trainers.world import World

SHAPES = (
    Shape("2M, small vocabulary", 128, 352, 8, 4, 4, 1024, 0, 0),
    Shape("10M, large vocabulary", 128, 352, 8, 4, 4, 32768, 0, 0),
    Shape("30M, wide", 512, 1408, 8, 8, 8, 4096, 0, 0),
    Shape("15M, deep", 256, 704, 16, 8, 8, 4096, 0, 0),
)
GANGS, PASSES, LENGTH = (1, 4, 16), (512, 2048), 128
RECIPE = Recipe(lora=Lora(r=16, alpha=32))


def changes(events: Any) -> Iterator[int]:
    """Bytes that were taken (or, below zero, given back), in the order of time."""
    found = [one for one in events if one.name() == "[memory]" and one.device_type() == DeviceType.CPU]
    return (one.nbytes() for one in sorted(found, key=lambda one: one.start_ns()))


def held(act: Callable[[], object]) -> tuple[int, int]:
    """Bytes that an act leaves behind, and the most that it holds."""
    gc.collect()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        act()
    now = most = 0
    for change in changes(profiler.profiler.kineto_results.events()):
        now += change
        most = max(most, now)
    return now, most


def rows(shape: Shape, gang: int, tokens: int) -> list[GangRow]:
    """Of a pass of so many tokens, equally many of each member; a row's loss is on its last quarter."""
    draw = torch.Generator().manual_seed(0)
    count = max(gang, tokens // LENGTH)
    texts = torch.randint(3, shape.vocabulary, (count, LENGTH), generator=draw).tolist()
    return [
        GangRow(number * gang // count, Row(tuple(text), LENGTH * 3 // 4, False), 1.0, 0)
        for number, text in enumerate(texts)
    ]


def step(base: Any, shape: Shape, gang: int, tokens: int, world: World) -> tuple[int, int, int]:
    """Bytes that a gang holds between steps, the most in a step beyond these, and weights of all its adapters."""
    names = [(str(number), number) for number in range(gang)]
    settings = engine_config(Training(), str(base.dtype).removeprefix("torch."))
    batch = collate(rows(shape, gang, tokens), 0, 0.0, world.device)
    engines: list[Any] = []

    def learn() -> None:
        [engine] = engines
        engine.backward((engine.losses(batch) * batch.weights).sum())
        engine.bad_slots()
        engine.step([1e-3] * gang, 1, [])

    def begin() -> None:
        engines.append(stack.enter_context(opened(base, RECIPE, settings, names, world, [Start()] * gang)))
        learn()

    with ExitStack() as stack:
        between, _ = held(begin)
        _, more = held(learn)
        engines.clear()
    sites = sites_named(base, meant(base, "all-linear"))
    return between, more, gang * RECIPE.low_rank.r * sum(site.fan_in + site.fan_out for site in sites)


def main() -> None:
    if torch.cuda.is_available():
        raise SystemExit("what lies on a GPU is not counted: hide it with CUDA_VISIBLE_DEVICES= before the command")
    world = World(0, 1)
    world.join(world.address())
    tuning = kind_of(RECIPE)
    print("| shape | dtype | gang | tokens | between steps | counted on | per token in a step |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for shape, dtype in product(SHAPES, (torch.float32, torch.bfloat16)):
        base = shape.model(dtype, world.device)
        params = sum(weight.numel() for weight in base.parameters())
        for gang, tokens in product(GANGS, PASSES):
            between, more, weights = step(base, shape, gang, tokens, world)
            counted = gang * tuning.size(params) * BYTES_PER_WEIGHT
            told = f"{between / 2**20:.1f} MiB, {between / weights:.1f} a weight | {counted / 2**20:.1f} MiB"
            token = more / max(tokens, gang * LENGTH) / 1024
            print(f"| {shape.name} | {dtype} | {gang} | {tokens} | {told} | {token:.1f} KiB |", flush=True)


if __name__ == "__main__":
    main()
