"""Which adapters are trained together: pure functions of what is left to train.

A gang is worth while until one optimiser step of it fills a forward pass; more members then only delay the first
results. Gangs that run at the same time get about as many tokens each, so that they end together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from adapters.kinds.kind import kind_of as tuning_of
from orchestrator.planning.plan import Plan
from orchestrator.scheduling.room import Tokens, learned, room
from study.cells import Source
from study.config import Recipe, StudyConfig, Training
from study.data.example import Example
from study.models.resolve import Model
from study.units import AdapterUnit
from trainers.settings import device_of, full_pass

ROUNDS_BATCHES = "int8"  # where what all rows of a batch hold decides how each is rounded: no two adapters share one


@dataclass(frozen=True)
class Place:
    """Where gangs are trained: so many trials at a time, and bytes that tensors of each process may take."""

    devices: int
    memory: int


Gang = tuple[AdapterUnit, ...]
Kind = tuple[str, int]  # a model, and the number of a recipe and a place in line: only what has both is one gang


def planned(
    config: StudyConfig,
    plan: Plan,
    examples: Mapping[Source, Sequence[Example]],
    tokens: Mapping[str, Mapping[str, int]],
    place: Place,
) -> list[Gang]:
    """The gangs of what a plan has to train.

    They are sized and balanced by the `examples` of each source, and the `tokens` that a model reads in each training,
    by the names of both. What begins with an adapter of the study is in another gang than that.
    """
    everything = list({unit.adapter_id: unit for unit in plan.grid.adapters}.values())
    per_unit = {unit.adapter_id: tokens[unit.model][unit.work] for unit in everything}
    models = {model.name: model for model in plan.grid.models}
    kinds = {unit.work: (config.recipe_of(unit.source, unit.recipe), len(unit.source.line)) for unit in everything}
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds.values()))}
    places = {work: numbers[kind] for work, kind in kinds.items()}

    def kind(unit: AdapterUnit) -> Kind:
        return unit.model, places[unit.work]

    sizes = {}
    for (recipe, _), number in numbers.items():
        for name in models:
            if mine := [unit for unit in everything if kind(unit) == (name, number)]:
                count = {unit.source: len(examples[unit.source]) for unit in mine}
                read = sum(count[unit.source] * recipe.passes(count[unit.source]) for unit in mine)
                share = max(learned(examples[source], recipe) for source in count)
                row = Tokens(sum(per_unit[unit.adapter_id] for unit in mine) / read, share)
                sizes[name, number] = gang_size(config.training, recipe, models[name], place.memory, row)
    group = partial(gangs, kind=kind, size=sizes, tokens=per_unit, devices=place.devices)
    return resumed(everything, plan.train, group)


def gang_size(training: Training, recipe: Recipe, model: Model, memory: int, row: Tokens) -> int:
    """Adapters of a model per gang: what the config says, or as many as fill a forward pass and fit beside the base.

    Tensors of a process may take `memory` bytes, and a row is one of those that are learned from.
    """
    member = tuning_of(recipe).member(model)
    if member is None or model.quantization == ROUNDS_BATCHES:
        return 1
    if training.gang_size != "auto":
        return training.gang_size
    if model.dtype == "float16":  # its loss scale is one for all: a member that diverges would stop the others
        return 1
    tokens = recipe.batch_size * max(1.0, row.count) / training.workers_per_trial
    fills = full_pass(training, device_of(training)) / tokens
    return max(1, min(math.ceil(fills), room(training, model, member, memory, Tokens(tokens, row.learned))))


def gangs(
    units: Sequence[AdapterUnit],
    kind: Callable[[AdapterUnit], Kind],
    size: Mapping[Kind, int],
    tokens: Mapping[str, int],
    devices: int,
) -> list[Gang]:
    """Adapters to train together, in order: of one `kind`, at most so many of it, for all `devices` equally long.

    `tokens` are each adapter's training tokens by adapter_id. Rounds of `devices` gangs take the units of a kind in
    order, so that a seed's matrix is full early; within a round they are dealt by their tokens.
    """
    result: list[Gang] = []
    kinds: dict[Kind, list[AdapterUnit]] = {}
    for unit in units:
        kinds.setdefault(kind(unit), []).append(unit)
    for one, left in kinds.items():
        rounds = math.ceil(len(left) / (size[one] * devices))
        for i in range(rounds, 0, -1):
            count = math.ceil(len(left) / i)
            result += _balanced(left[:count], min(devices, count), tokens)
            left = left[count:]
    return result


def resumed(
    everything: Sequence[AdapterUnit],
    left: Sequence[AdapterUnit],
    group: Callable[[Sequence[AdapterUnit]], list[Gang]],
) -> list[Gang]:
    """Gangs of what is left, those that no member of is done as a run from the start would have them.

    An adapter's last bits depend on its companions, so an interrupted study ends with the same numbers as another.
    """
    missing = set(left)
    planned = group(everything)
    whole = [gang for gang in planned if missing.issuperset(gang)]
    rest = [unit for gang in planned if not missing.issuperset(gang) for unit in gang if unit in missing]
    return whole + group(rest)


def _balanced(units: Sequence[AdapterUnit], bins: int, tokens: Mapping[str, int]) -> list[Gang]:
    """Units in `bins` groups of equal number: of every `bins` units the longest goes to the group with least so far."""
    longest_first = sorted(range(len(units)), key=lambda i: -tokens[units[i].adapter_id])
    groups: list[list[int]] = [[] for _ in range(bins)]
    loads = [0] * bins
    for start in range(0, len(units), bins):
        emptiest = sorted(range(bins), key=loads.__getitem__)
        for i, group in zip(longest_first[start : start + bins], emptiest, strict=False):
            groups[group].append(i)
            loads[group] += tokens[units[i].adapter_id]
    return [tuple(units[i] for i in sorted(group)) for group in groups]
