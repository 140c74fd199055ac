"""How fast stores have seen units go, on CPUs or on GPUs: device seconds by what a unit's size is.

Training goes by its work in tokens: those learned from, and those validated on as far as reading costs what learning
does. Scoring goes by its items on a target that was seen, by its tokens on another one. So what was measured on a part
of the data, or over fewer epochs, says what all of it takes, and equal cells take exactly what they took. Of a source,
a target or a model the first store that has seen it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from adapters.kinds.kind import kind_of as tuning_of
from orchestrator.costs.devices import SCORE, TRAIN, kind_of_device, used
from study.config import Recipe, StudyConfig
from study.flops import FORWARD
from study.store.parts import undisturbed
from study.store.records import AdapterRecord, StudyFile
from study.store.store import Store
from study.store.study_file import read_study


def train_flops(config: StudyConfig, recipe: Recipe) -> int:
    """FLOPs of training per token and parameter, where layers are computed again with a second forward pass."""
    return tuning_of(recipe).train_flops + (FORWARD if config.training.gradient_checkpointing else 0)


def train_work(learned: float, train: int, validation: int, recipe: Recipe) -> float:
    """The work of training: tokens learned from, and what else is read as so many of them as cost the same.

    Examples to validate on (`validation`) are taken to be as long as those to learn from (`train`).
    """
    learned += tuning_of(recipe).virtual_tokens * train * recipe.passes(train)
    forward = FORWARD / tuning_of(recipe).train_flops
    return learned * (near_work(recipe) + validation / max(1, train) * forward)


def near_work(recipe: Recipe) -> float:
    """By what a token to learn from costs more where an adapter is kept near the base on prompts, taken to be as long.

    They are read and learned from, and the base reads them once more.
    """
    near = recipe.of_source(1).keep_near_base
    prompts = (near.kl_batch or 0) / recipe.batch_size if near.kl else 0.0
    return 1 + prompts * (1 + FORWARD / tuning_of(recipe).train_flops)


@dataclass(frozen=True)
class Seen:
    """Sums over units. `size` is what their seconds go by where the source or target is the same."""

    seconds: float
    tokens: float
    size: float
    devices: frozenset[str]
    where: str

    def __add__(self, other: Seen) -> Seen:
        seconds, tokens = self.seconds + other.seconds, self.tokens + other.tokens
        return Seen(seconds, tokens, self.size + other.size, self.devices | other.devices, self.where)

    def __str__(self) -> str:
        return f"on {', '.join(sorted(self.devices))} in {self.where}"


@dataclass
class Measured:
    """What was seen, by (stage, model) and by (stage, model, source or target); models' parameters outside embeddings.

    A target has two names: its identity, and its cell's, for what was seen of it with fewer items or otherwise asked.
    Seconds are those of devices that computed.
    """

    body: dict[str, int] = field(default_factory=dict)
    models: dict[tuple[str, str], Seen] = field(default_factory=dict)
    units: dict[tuple[str, str, str], Seen] = field(default_factory=dict)

    def add(self, stage: str, model: str, names: Sequence[str], seen: Seen) -> None:
        """Book units on a source or target, which may have several names."""
        whole = stage, model
        self.models[whole] = self.models[whole] + seen if whole in self.models else seen
        for name in names:
            unit = stage, model, name
            self.units[unit] = self.units[unit] + seen if unit in self.units else seen

    def unit(self, stage: str, model: str, names: Sequence[str], size: float) -> tuple[float, str] | None:
        """Seconds of a unit on a source or target, by its size, and what they go by, in words.

        Those seen under the first of its names count, if there are any; else those under the next.
        """
        for seen in (self.units.get((stage, model, name)) for name in names):
            if seen is not None and seen.size:
                return seen.seconds / seen.size * size, f"measured {seen}"
        return None

    def rate(self, stage: str, model: str, body: int) -> tuple[float, str] | None:
        """Seconds per token of a model, and what they go by, in words; None where nothing of this stage was seen.

        A model that was not seen goes by the seconds per token and parameter of the others.
        """
        own = self.models.get((stage, model))
        if own and own.tokens:
            return own.seconds / own.tokens, f"the model's speed {own}"
        others = [
            (seen, self.body[name]) for (at, name), seen in self.models.items() if at == stage and self.body.get(name)
        ]
        work = sum(seen.tokens * size for seen, size in others)
        if not work:
            return None
        speed = sum(seen.seconds for seen, _ in others) / work
        where = " and ".join(dict.fromkeys(str(seen) for seen, _ in others))
        return speed * body, f"the speed of other models {where}, scaled by parameters outside embeddings"


def merged(stores: Iterable[Measured]) -> Measured:
    """What several stores have seen, the first one first."""
    result = Measured()
    for found in stores:
        result.models = found.models | result.models
        result.units = found.units | result.units
        result.body = found.body | result.body
    return result


def measure(store: Store, kinds: Mapping[str, str], took: pl.DataFrame) -> Measured:
    """What a store has seen on the kind of device that is asked for in each stage. Raises Damaged, OtherVersion.

    `took` is what its scores took (orchestrator.planning.spent).
    """
    result = Measured()
    study = read_study(store) or StudyFile({})
    result.body.update(study.bodies)
    per_worker, per_evaluator = used(study.trainer_resources), used(study.evaluator_resources)
    for row in took.iter_rows(named=True):
        kind = kind_of_device(row["device"])
        if kind == kinds[SCORE]:
            seen = Seen(row["seconds"] * per_evaluator, row["tokens"], row["n_items"], frozenset([kind]), store.uri)
            names = row["target_id"], f"{row['target_task']}/{row['target_language']}"
            result.add(SCORE, row["model"], names, seen)
    for record in undisturbed(store.records).values():
        device = record.conditions.device
        if kind_of_device(device) == kinds[TRAIN]:
            seconds, work = record.course.seconds * record.conditions.world_size * per_worker, _work(record)
            seen = Seen(seconds, work, work, frozenset([device]), store.uri)
            result.add(TRAIN, record.model, [record.called], seen)
    return result


def _work(record: AdapterRecord) -> float:
    course, recipe = record.course, Recipe.of_record(record.recipe)
    return train_work(course.tokens.useful, course.examples.train, course.examples.validation, recipe)
