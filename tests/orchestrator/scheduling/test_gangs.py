"""Who is trained with whom: every adapter once, of one model, no more than fit, for all devices equally long."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.grid import expand
from orchestrator.planning.plan import Plan
from orchestrator.scheduling.gangs import Kind, Place, gang_size, gangs, planned, resumed
from orchestrator.scheduling.room import UNKNOWN, USED, Tokens, learned, memory
from orchestrator.scheduling.shrink import smaller
from study.cells import Cell, Source
from study.config import KeepNearBase, Lora, Recipe, Training
from study.config.file import parse
from study.data.example import Example
from study.models.resolve import Model
from study.models.shapes import Body, Linear
from study.units import AdapterUnit

MODEL = Model("m", "m", None, "identity", "float32", "m", 1.0, 2_750_000, False, ())
MUCH = 80 << 30
CPU = Training(resources_per_worker={"CPU": 1})


def model_of(unit: AdapterUnit) -> Kind:
    return unit.model, 0


def units(counts: dict[str, int]) -> list[AdapterUnit]:
    return [
        AdapterUnit(f"{model}{i}", model, Source.of([Cell("task", str(i))]), 17)
        for model, count in counts.items()
        for i in range(count)
    ]


@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=60),
    st.lists(st.integers(1, 5000), max_size=20),
    st.integers(1, 12),
    st.integers(1, 6),
)
def test_every_adapter_is_in_one_gang_of_its_model(
    first: list[int], second: list[int], size: int, devices: int
) -> None:
    todo = units({"a": len(first), "b": len(second)})
    tokens = {unit.adapter_id: count for unit, count in zip(todo, first + second, strict=True)}
    groups = gangs(todo, model_of, {("a", 0): size, ("b", 0): size}, tokens, devices)
    assert sorted(u.adapter_id for group in groups for u in group) == sorted(tokens)
    assert all(len({unit.model for unit in group}) == 1 and len(group) <= size for group in groups)
    for model, count in (("a", len(first)), ("b", len(second))):
        mine = [len(group) for group in groups if group[0].model == model]
        assert len(mine) >= min(devices, count), "adapters are spread over the devices"
        assert max(mine, default=0) - min(mine, default=0) <= 2


@given(st.lists(st.integers(100, 1000), min_size=12, max_size=48), st.integers(2, 4))
def test_gangs_that_run_together_end_together(counts: list[int], devices: int) -> None:
    """Within what the longest adapter of a round allows."""
    todo = units({"a": len(counts)})
    tokens = {unit.adapter_id: count for unit, count in zip(todo, counts, strict=True)}
    groups = gangs(todo, model_of, {("a", 0): math.ceil(len(counts) / devices)}, tokens, devices)
    loads = [sum(tokens[unit.adapter_id] for unit in group) for group in groups]
    assert len(groups) == devices
    assert max(loads) - min(loads) <= 2 * max(counts)


@given(st.integers(2, 40), st.integers(1, 9), st.integers(1, 3), st.sets(st.integers(0, 39)))
def test_after_an_interruption_gangs_that_are_not_begun_stay_as_they_were(
    count: int, size: int, devices: int, finished: set[int]
) -> None:
    everything = units({"a": count})
    tokens = {unit.adapter_id: 100 + i for i, unit in enumerate(everything)}
    group = partial(gangs, kind=model_of, size={("a", 0): size}, tokens=tokens, devices=devices)
    left = [unit for i, unit in enumerate(everything) if i not in finished]
    again = resumed(everything, left, group)
    assert sorted(unit.adapter_id for gang in again for unit in gang) == sorted(unit.adapter_id for unit in left)
    assert all(gang in again for gang in group(everything) if set(gang) <= set(left))
    assert resumed(everything, everything, group) == group(everything)


def test_rounds_keep_the_order() -> None:
    """A seed's adapters come before the next seed's, whatever their sizes."""
    todo = units({"a": 8})
    tokens = {unit.adapter_id: 100 * (i % 3) for i, unit in enumerate(todo)}
    groups = gangs(todo, model_of, {("a", 0): 2}, tokens, 2)
    assert [{unit.adapter_id for group in groups[i : i + 2] for unit in group} for i in (0, 2)] == [
        {"a0", "a1", "a2", "a3"},
        {"a4", "a5", "a6", "a7"},
    ]


def test_recipes_that_differ_never_share_a_gang() -> None:
    """Two models, text with a recipe of its own, text without, and a task; whole, and what an interruption left."""
    config = parse(
        "models: [{id: a}, {id: b}]\nlanguages: [de, en, fr]\ntasks: [{name: quiz, lm_eval: 'quiz_{language}'}]\n"
        "texts:\n  - {name: prose, data: '{language}.txt', recipe: {epochs: 1, max_length: 96}}\n"
        "  - {name: verse, data: '{language}.txt'}\nseeds: [1, 2]\nrecipe: {epochs: 4, max_length: 32}\n"
        "sources: [quiz/de, prose/de, verse/de, quiz/en, prose/en, [prose/de, prose/en], [quiz/fr, prose/fr]]\n"
        "training: {resources_per_worker: {CPU: 1}}"
    )
    models = [dataclasses.replace(MODEL, name=name, identity=name) for name in "ab"]
    sources = {source: [str(source)] for source in config.source_list()}
    grid = expand(config, models, sources, {})
    tokens = {model.name: {str(source): 3000 for source in sources} for model in models}
    for left in (grid.adapters, grid.adapters[1::3]):
        plan = Plan(grid, tuple(left), (), Counter(), Counter())
        found = planned(config, plan, dict.fromkeys(sources, [Example("who", "me")] * 100), tokens, Place(2, MUCH))
        assert sorted(unit.adapter_id for gang in found for unit in gang) == sorted(unit.adapter_id for unit in left)
        kinds = [{(unit.model, config.recipe_of(unit.source)) for unit in gang} for gang in found]
        assert all(len(kind) == 1 for kind in kinds)
        assert max(map(len, found)) > 1
    assert {config.recipe_of(source).epochs for source in sources if "quiz" in source.task} == {4}
    assert {config.recipe_of(source).epochs for source in sources if source.task == "prose"} == {1}


def test_a_gang_is_as_large_as_fills_a_forward_pass() -> None:
    recipe = Recipe(batch_size=8)
    assert gang_size(CPU, recipe, MODEL, MUCH, Tokens(16, 0.1)) == 16
    assert gang_size(CPU, recipe, MODEL, MUCH, Tokens(5000, 0.1)) == 1
    assert gang_size(CPU.model_copy(update={"gang_size": 44}), recipe, MODEL, MUCH, Tokens(5000, 0.1)) == 44


LARGE = Model(  # as Llama 3.1 8B is
    *("m", "m", None, "m", "bfloat16", "m", 8.0, 8_030_000_000, False, ()),
    layers=32,
    body=Body((Linear("square", 64, 64 * 4096, 64 * 2560), Linear("wide", 96, 96 * 7509, 96 * 10923)), 128_256, 4096),
)


def test_a_gang_fits_beside_a_large_base() -> None:
    """Base, adapters and what a step of theirs keeps: a few rows of a large base take more than its adapters do."""
    gpu, row = Training(resources_per_worker={"GPU": 1}), Tokens(100, 0.05)
    sizes = [gang_size(gpu, Recipe(), LARGE, gib << 30, row) for gib in (8, 24, 36, 72, 126)]
    assert sizes == sorted(sizes)
    assert sizes[:2] == [1, 1]
    assert 3 < sizes[2] < sizes[3] < sizes[4] == 21  # which fill a pass
    again = gpu.model_copy(update={"gradient_checkpointing": True})
    assert gang_size(again, Recipe(), LARGE, 24 << 30, row) > 4


def test_what_is_not_adapted_is_not_counted_and_what_is_learned_is() -> None:
    gpu = Training(resources_per_worker={"GPU": 1})
    some = Recipe(lora=Lora(modules=("square",)))
    assert gang_size(gpu, some, LARGE, 40 << 30, Tokens(100, 0.05)) > gang_size(
        gpu, Recipe(), LARGE, 40 << 30, Tokens(100, 0.05)
    )
    few, all_ = (gang_size(gpu, Recipe(), LARGE, 60 << 30, Tokens(100, share)) for share in (0.01, 1.0))
    assert few > all_ > 1


def test_passes_that_are_limited_leave_room_for_more() -> None:
    gpu = Training(resources_per_worker={"GPU": 1}, micro_batch_tokens=256)
    row = Tokens(100, 0.05)
    assert gang_size(gpu, Recipe(), LARGE, 36 << 30, row) > gang_size(
        Training(resources_per_worker={"GPU": 1}), Recipe(), LARGE, 36 << 30, row
    )


def test_a_process_has_its_part_of_the_smallest_node_that_has_place_for_it() -> None:
    nodes = [{"CPU": 8.0, "memory": 64.0 * 2**30}, {"CPU": 4.0, "memory": 8.5 * 2**30}, {"CPU": 1.0, "memory": 2.0**30}]
    assert memory(Training(resources_per_worker={"CPU": 2}), nodes, None) == int(4 * 2**30 * USED)
    assert memory(Training(resources_per_worker={"CPU": 8}), nodes, None) == int(64 * 2**30 * USED)
    assert memory(Training(resources_per_worker={"CPU": 2, "memory": 2**30}), nodes, None) == int(2**30 * USED)
    assert memory(Training(resources_per_worker={"CPU": 2}), [{"CPU": 4.0}], None) == int(UNKNOWN["cpu"] * USED)
    assert memory(Training(resources_per_worker={"GPU": 0.5}), nodes, 80 << 30) == int(40 * 2**30 * USED)
    assert memory(Training(resources_per_worker={"GPU": 2}), nodes, None) == int(UNKNOWN["cuda"] * USED)


def test_what_is_learned_is_told_by_what_examples_say() -> None:
    pair = Example("a question", "yes")
    assert learned([pair], Recipe()) == 3 / 13
    assert learned([pair, dataclasses.replace(pair, loss_on="all")], Recipe()) == 6 / 16
    assert learned([pair], Recipe(loss_on="all")) == learned([pair], Recipe(keep_near_base=KeepNearBase(kl=0.1))) == 1


def test_one_loss_scale_cannot_serve_several() -> None:
    assert gang_size(CPU, Recipe(), dataclasses.replace(MODEL, dtype="float16"), MUCH, Tokens(16, 0.1)) == 1


def test_out_of_memory_halves_the_tokens_of_a_pass_then_the_gang() -> None:
    recipe = Recipe(batch_size=8, max_length=300)
    pending, training = [list("abcde"), list("fgh")], CPU
    seen = []
    for _ in range(7):
        pending, training = smaller(pending, training, recipe)
        assert sorted(name for gang in pending for name in gang) == list("abcdefgh")
        seen.append((max(len(gang) for gang in pending), training.micro_batch_tokens))
    assert seen == [(5, 1024), (5, 512), (5, 300), (3, 300), (2, 300), (1, 300), (1, 300)]


def test_a_part_of_a_gpu_has_a_part_of_a_pass() -> None:
    whole, half = (Training(resources_per_worker={"GPU": gpus}) for gpus in (1, 0.5))
    row = Tokens(20, 0.1)
    of_half, of_whole = (gang_size(one, Recipe(), MODEL, MUCH, row) for one in (half, whole))
    assert of_half == pytest.approx(of_whole / 2, abs=1)
    assert gang_size(Training(resources_per_worker={"GPU": 2}), Recipe(), MODEL, MUCH, row) == of_whole


def test_what_memory_has_room_for_begins_with_what_a_pass_can_have() -> None:
    """Rows of a small batch fill no pass: to lower its limit from above what they have would change nothing."""
    gpu, recipe = Training(resources_per_worker={"GPU": 1}), Recipe(batch_size=4, max_length=100)
    pending, training = smaller([["a"]], gpu, recipe)
    assert (pending, training.micro_batch_tokens) == ([["a"]], 200)
