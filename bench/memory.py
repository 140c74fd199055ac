"""What a training step holds, beside what is counted on for it: `python -m bench.memory` over shapes, kinds and gangs.

A step is the engine's own, with DeepSpeed, on a Llama with random weights. On a CPU the bytes of all tensors are
counted that torch's profiler sees come and go, so nothing else that runs here moves a figure; on a GPU torch counts.
Held are what the step leaves behind (adapters, their gradients, moments and master weights), and the most that is there
on top of that within the step, which is activations and logits. Then `gang_size: auto` is asked how many adapters it
would take where exactly so much memory is: as many as there were, if it counts right.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch.autograd import DeviceType

from adapters.kinds.kind import kind_of
from bench.gpu.kit import Shape
from orchestrator.scheduling.room import Tokens, room
from study.config import Lora, Recipe, Training
from study.models import shapes
from study.models.resolve import Model
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
    Shape("20M, few heads with keys", 384, 1536, 8, 12, 2, 8192, 0, 0),
)
STEPS = 3  # of which the least counts: now and then the profiler misses that a gradient is given back
GANGS, LENGTH = (1, 4, 16), 128  # each adapter has one row of such a length in a step
RECIPES = {
    "r 16": Recipe(lora=Lora(r=16, alpha=32)),
    "r 64": Recipe(lora=Lora(r=64, alpha=32)),
    "dropout": Recipe(lora=Lora(r=16, alpha=32, dropout=0.1)),
    "two modules": Recipe(lora=Lora(r=16, alpha=32, modules=("q_proj", "v_proj"))),
    "DoRA": Recipe(kind="dora", lora=Lora(r=16, alpha=32)),
    "layers again": Recipe(lora=Lora(r=16, alpha=32)),
}
CASES = (*product(SHAPES, ["r 16"]), *product(SHAPES[2:3], [*RECIPES][1:]))


@dataclass(frozen=True)
class Case:
    """A base, what is trained on it, and in what precision."""

    shape: Shape
    recipe: str
    dtype: torch.dtype

    @property
    def training(self) -> Training:
        on = "GPU" if torch.cuda.is_available() else "CPU"
        return Training(resources_per_worker={on: 1}, gradient_checkpointing=self.recipe == "layers again")

    def model(self, base: torch.nn.Module) -> Model:
        """As a plan sees it."""
        held = {name: tuple(weight.shape) for name, weight in base.named_parameters()}
        dtype = str(self.dtype).removeprefix("torch.")
        return Model(
            *("m", "m", None, "m", dtype, "m", 1.0, shapes.count(held), False, ()),
            embedded=shapes.embedded(held),
            layers=shapes.layers(held),
            body=shapes.body(held),
        )


def changes(events: Any) -> Iterator[int]:
    """Bytes that were taken (or, below zero, given back), in the order of time."""
    found = [one for one in events if one.name() == "[memory]" and one.device_type() == DeviceType.CPU]
    return (one.nbytes() for one in sorted(found, key=lambda one: one.start_ns()))


def held(act: Callable[[], object]) -> tuple[int, int]:
    """Bytes that an act leaves behind, and the most that it holds; on a GPU where there is one."""
    gc.collect()
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        act()
        gc.collect()
        return torch.cuda.memory_allocated() - before, torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        act()
        gc.collect()
    now = most = 0
    for change in changes(profiler.profiler.kineto_results.events()):
        now += change
        most = max(most, now)
    return now, most


def rows(shape: Shape, gang: int) -> list[GangRow]:
    """One of each member; its loss is on its last quarter."""
    draw = torch.Generator().manual_seed(0)
    texts = torch.randint(3, shape.vocabulary, (gang, LENGTH), generator=draw).tolist()
    return [GangRow(number, Row(tuple(text), LENGTH * 3 // 4, False), 1.0, 0) for number, text in enumerate(texts)]


def step(base: Any, case: Case, gang: int, world: World) -> tuple[int, int]:
    """Bytes that a gang holds between steps, and the most in a step beyond these."""
    names = [(str(number), number) for number in range(gang)]
    recipe, training = RECIPES[case.recipe], case.training
    settings = engine_config(training, str(case.dtype).removeprefix("torch."))
    batch = collate(rows(case.shape, gang), 0, kind_of(recipe).dropout, world.device)
    engines: list[Any] = []

    def learn() -> None:
        [engine] = engines
        engine.backward((engine.losses(batch) * batch.weights).sum())
        engine.bad_slots()
        engine.step([1e-3] * gang, 1, [])

    def begin() -> None:
        engines.append(stack.enter_context(opened(base, recipe, settings, names, world, [Start()] * gang)))
        if training.gradient_checkpointing:
            engines[0].recompute()
        learn()

    with ExitStack() as stack:
        between, _ = held(begin)
        more = min(most for _, most in (held(learn) for _ in range(STEPS)))
        engines.clear()
    return between, more


def taken(case: Case, gang: int, world: World) -> tuple[float, float, int]:
    """Bytes of each weight between steps, KiB of each token in one, and how large a gang would be asked for there."""
    base = case.shape.model(case.dtype, world.device)
    model = case.model(base)
    member = kind_of(RECIPES[case.recipe]).member(model)
    assert member is not None
    between, more = step(base, case, gang, world)
    counted = room(case.training, model, member, model.bytes + between + more, Tokens(LENGTH, 0.25))
    return between / member.weights / gang, more / gang / LENGTH / 1024, counted


def main() -> None:
    world = World(0, 1)
    world.join(world.address())
    print("| shape | trained | dtype | gang | bytes per weight | KiB per token in a step | would take |")
    print("|---|---|---|---:|---:|---:|---:|")
    for (shape, recipe), dtype in product(CASES, (torch.float32, torch.bfloat16)):
        for gang in GANGS:
            weight, token, counted = taken(Case(shape, recipe, dtype), gang, world)
            of = f"{shape.name} | {recipe} | {str(dtype).removeprefix('torch.')} | {gang}"
            print(f"| {of} | {weight:.1f} | {token:.1f} | {counted} |", flush=True)


if __name__ == "__main__":
    main()
