"""Studies with compositions whose truth is known, made of panels alone. Deterministic.

Sources move every target by an amount of their own; a composition by Σ w·Δ of its parts, times `adds` (1: parts do not
touch one another), and an amount of its own. An item is right under an adapter where a number drawn for both is below
the adapter's accuracy; the number is the item's own, alike for all, as often as `alike` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from analysis.reading.compositions import Compositions
from analysis.reading.panels import Panel, unit_scores
from analysis.reading.study import Study
from analysis.reading.transfer import joint_sources, transfer
from study.cells import Cell, Source
from study.store.composed import ComposedRecord, Pair, Weighted
from study.store.records import AdapterRecord
from tests.support.rows import record_of

MODEL = "tiny-1B"
Effect = Callable[[Cell, Cell], float]  # of a source on a target, proportion


@dataclass(frozen=True)
class Mix:
    """A composition: its parts with their weights, and lambda with the protocol that chooses it."""

    name: str
    terms: Mapping[Cell, float]
    method: str = "sum"
    strength: float | None = None
    protocol: str | None = None
    language: str | None = None
    adds: float = 1.0
    more: Callable[[Cell], float] = lambda _: 0.0  # on a target, beyond its parts


@dataclass(frozen=True)
class World:
    effect: Effect
    mixes: Sequence[Mix] = ()
    tasks: tuple[str, ...] = ("a", "b")
    languages: tuple[str, ...] = ("de", "en", "fr")
    seeds: tuple[int, ...] = (1, 2)
    items: int = 400
    accuracy: float = 0.5
    alike: float = 0.7
    seed_sd: float = 0.0
    held_out: Mapping[tuple[str, float, Cell], float] | None = None  # gain of a name's lambda on items of a cell
    joint: Sequence[tuple[Cell, ...]] = ()  # sources of several cells: each moves a target by the sum of what these do
    stages: Sequence[Source] = ()  # each does what its cells do, and half of what those of its start do
    changed: float = 0.0  # what changed data move every target by, beside what the cells do

    @property
    def cells(self) -> list[Cell]:
        return [Cell(task, language) for task in self.tasks for language in self.languages]


def ident(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def normal_effects(sd: float = 0.05, seed: int = 0) -> Effect:
    """Every pair of cells has its own."""

    def effect(source: Cell, target: Cell) -> float:
        return float(np.random.default_rng(int(ident(seed, source, target), 16) % 2**32).normal(0, sd))

    return effect


def study_of(world: World, seed: int = 0) -> Study:
    """The study as a store of it would be read."""
    rng = np.random.default_rng(seed)
    subjects = [*_sources(world), *_composed(world)]
    luck = {(one["source"].cells, one["seed"]): rng.normal(0, world.seed_sd) for one in _sources(world)}
    records = _records(world)
    rows, panels = [], []
    for cell in world.cells:
        units = [len(rows) + i for i in range(len(subjects) + 1)]
        base = {"kind": "base", "adapter_id": None, "seed": None, "source": None}
        rows += [_unit(one, cell) for one in (base, *subjects)]
        chances = [world.accuracy, *(world.accuracy + _truth(world, one, cell, luck) for one in subjects)]
        panels.append(_panel(cell, units, np.array(chances), world, rng))
    units_frame = pl.DataFrame(rows, infer_schema_length=None, schema_overrides=_KINDS)
    units_frame = units_frame.with_row_index("unit").with_columns(pl.col("unit").cast(pl.Int64))
    units_frame = units_frame.join(unit_scores(panels), on="unit", how="left", maintain_order="left")
    trained = units_frame.filter(pl.col("kind") == "trained")
    return Study(
        "combined",
        "nowhere",
        transfer(trained, joint_sources(records, set(trained["adapter_id"]))),
        units=units_frame,
        panels=tuple(panels),
        records=records,
        joint=joint_sources(records, set(trained["adapter_id"])),
        compositions=_compositions(world) if world.mixes else None,
    )


_KINDS = {"adapter_id": pl.String, "source_task": pl.String, "source_language": pl.String, "source_size": pl.Int64}
_KINDS |= {"seed": pl.Int64, "epoch": pl.Int64}


def _sources(world: World) -> list[dict[str, Any]]:
    sources = [Source.of([cell]) for cell in world.cells] + [Source.of(cells) for cells in world.joint]
    sources += world.stages
    return [
        {"kind": "trained", "adapter_id": id_of(source, seed), "seed": seed, "source": source}
        for source in sources
        for seed in world.seeds
    ]


def source_id(cells: Sequence[Cell], seed: int) -> str:
    return ident(cells[0], seed) if len(cells) == 1 else ident(tuple(cells), seed)


def id_of(source: Source, seed: int) -> str:
    return source_id(source.cells, seed) if source.name is None else ident(str(source), seed)


def _stage(source: Source, seed: int) -> dict[str, object] | None:
    """What a record says of a source with a name."""
    if not isinstance(source.start, Source):
        return None if source.change is None else {"name": source.name, "change": str(source.change), "before": []}
    before = [str(cell) for cell in source.start.cells]
    start_id = id_of(source.start, seed)
    return {"name": source.name, "start": str(source.start), "start_id": start_id, "before": before}


def _records(world: World) -> tuple[AdapterRecord, ...]:
    """Every example is ten tokens, and a source of n cells has n examples."""
    return tuple(
        record_of(
            str(one["adapter_id"]), model=MODEL, source=list(one["source"].names), seed=one["seed"],
            tokens={"useful": 10 * len(one["source"].cells), "padded": 99}, stage=_stage(one["source"], one["seed"]),
        )
        for one in _sources(world)
    )  # fmt: skip


def composed_id(mix: Mix, seed: int) -> str:
    terms = sorted((str(cell), weight) for cell, weight in mix.terms.items() if weight)
    return ident(mix.method, terms, mix.adds, seed)


def _composed(world: World) -> list[dict[str, object]]:
    made = {composed_id(mix, seed): (mix, seed) for mix in world.mixes for seed in world.seeds}
    return [
        {"kind": "composed", "adapter_id": name, "seed": seed, "source": None, "mix": mix}
        for name, (mix, seed) in made.items()
    ]


def _truth(world: World, one: Mapping[str, object], target: Cell, luck: Mapping[object, float]) -> float:
    mix = one.get("mix")
    if isinstance(mix, Mix):
        parts = [w * (world.effect(c, target) + luck[(c,), one["seed"]]) for c, w in mix.terms.items()]
        return mix.adds * sum(parts) + mix.more(target)
    source = one["source"]
    assert isinstance(source, Source)
    before = source.start.cells if isinstance(source.start, Source) else ()
    learned = sum(world.effect(cell, target) for cell in source.own) + luck[source.cells, one["seed"]]
    learned += world.changed * (source.change is not None)
    return learned + sum(world.effect(cell, target) for cell in before) / 2


def _unit(one: Mapping[str, object], target: Cell) -> dict[str, object]:
    source = one["source"]
    names = (source.task, source.language) if isinstance(source, Source) else (None, None)
    return {
        "score_id": ident(one["adapter_id"], target), "adapter_id": one["adapter_id"], "model": MODEL,
        "model_params": 10**9, "source_task": names[0], "source_language": names[1], "source_size": None,
        "recipe": None, "epoch": None,
        "seed": one["seed"], "target_task": target.task, "target_language": target.language,
        "model_size": 1.0, "model_family": "tiny", "kind": one["kind"],
    }  # fmt: skip


def _panel(cell: Cell, units: list[int], chances: np.ndarray, world: World, rng: np.random.Generator) -> Panel:
    shape = (len(units), world.items)
    own = rng.random(shape) < 1 - world.alike
    number = np.where(own, rng.random(shape), rng.random(world.items))
    right = (number < chances[:, None]).astype(np.float32)
    whole = np.arange(world.items)
    return Panel(
        MODEL, cell.task, cell.language, np.array(units), whole, "", right, right, right.astype(np.int16),
        np.ones(world.items, np.int64), np.full(world.items, 4), tuple(f"{cell}{i}" for i in whole),
    )  # fmt: skip


def _compositions(world: World) -> Compositions:
    named = [
        {
            "adapter_id": composed_id(mix, seed), "name": mix.name, "model": MODEL, "seed": seed, "method": mix.method,
            "strength": mix.strength, "protocol": mix.protocol, "language": mix.language, "recipe": None, "epoch": None,
            "terms": [
                {"subject_id": ident(cell, seed), "source": str(cell), "weight": float(weight)}
                for cell, weight in mix.terms.items()
                if weight
            ],
        }
        for mix in world.mixes
        for seed in world.seeds
    ]  # fmt: skip
    kinds = {"strength": pl.Float64, "protocol": pl.String, "language": pl.String}
    scored = [
        (MODEL, composed_id(mix, seed), cell.task, cell.language, "acc", gain)
        for (name, strength, cell), gain in (world.held_out or {}).items()
        for mix in world.mixes
        if (mix.name, mix.strength) == (name, strength)
        for seed in world.seeds
    ]
    texts = ("model", "adapter_id", "target_task", "target_language", "metric")
    held_out = pl.DataFrame(scored, schema=dict.fromkeys(texts, pl.String) | {"delta": pl.Float64}, orient="row")
    records = {composed_id(mix, seed): _record(mix, seed) for mix in world.mixes for seed in world.seeds}
    return Compositions(pl.DataFrame(named, infer_schema_length=None, schema_overrides=kinds), held_out, records)


def _record(mix: Mix, seed: int) -> ComposedRecord:
    terms = tuple(Weighted(ident(cell, seed), "folder", float(weight)) for cell, weight in mix.terms.items() if weight)
    pairs = tuple(Pair(i, j, 0.1 * mix.adds, 1.0, 0.4) for i in range(len(terms)) for j in range(i + 1, len(terms)))
    return ComposedRecord(
        adapter_id=composed_id(mix, seed), model=MODEL, name=mix.name, seed=seed, method=mix.method, parameters={},
        terms=terms, norm=1.0, truncation=0.25, rank=16, pairs=pairs,
    )  # fmt: skip
