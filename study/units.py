"""Units: the things to do. A unit is a value that names its result; doing it twice gives the same result."""

from __future__ import annotations

from dataclasses import dataclass

from study.cells import Cell, Source
from study.composition import Composition
from study.config.expansion import work_name
from study.store.layout import adapter_folder, composed_folder, epoch_folder, given_folder
from study.store.records import FailureRecord


@dataclass(frozen=True)
class AdapterUnit:
    """Train one adapter of a model on a source with a seed; of a stage from the adapter `start` on."""

    adapter_id: str
    model: str
    source: Source
    seed: int
    recipe: str | None = None  # its name; None where the study has but one
    found: str | None = None  # the folder where it is, if that is named otherwise: after another recipe's name, or none
    start: AdapterUnit | GivenAdapter | None = None

    @property
    def waits_for(self) -> str | None:
        """The adapter that must be trained before this one can be: that which it begins with, if the study has it."""
        return self.start.adapter_id if isinstance(self.start, AdapterUnit) else None

    @property
    def unit_id(self) -> str:
        return self.adapter_id

    @property
    def folder(self) -> str:
        """Where its files are in the store, or go."""
        named = self.adapter_id if self.recipe is None else f"{self.recipe}-{self.adapter_id}"
        return self.found or adapter_folder(self.model, self._task, self.source.language, self.seed, named)

    @property
    def work(self) -> str:
        """What it learns, and by which recipe."""
        return work_name(self.source, self.recipe)

    @property
    def _task(self) -> str:
        return self.source.task + self.source.mark

    def __str__(self) -> str:
        by = "" if self.recipe is None else f"/{self.recipe}"
        return f"{self.model}/{self._task}/[{self.source.language}]/{self.seed}{by}"


@dataclass(frozen=True)
class EpochAdapter:
    """What an adapter had come to after an epoch of its training; of the kept one it is that adapter itself."""

    adapter_id: str
    of: AdapterUnit
    epoch: int

    @property
    def model(self) -> str:
        return self.of.model

    @property
    def source(self) -> Source:
        return self.of.source

    @property
    def seed(self) -> int:
        return self.of.seed

    @property
    def recipe(self) -> str | None:
        return self.of.recipe

    @property
    def folder(self) -> str:
        """Where its files are in the store."""
        return epoch_folder(self.of.folder, self.epoch)

    def __str__(self) -> str:
        return f"{self.of}/epoch{self.epoch}"


@dataclass(frozen=True)
class GivenAdapter:
    """An adapter of the config's `adapters` list, trained elsewhere. Its files are in the local folder `path`.

    `tokenizer` are the names of those that are of a tokenizer of its own; `left_out` counts its tensors that are of a
    larger model than its own, as of towers for images, by part.
    """

    adapter_id: str
    model: str
    name: str
    source: Source | None
    path: str
    tokenizer: tuple[str, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    seed: None = None
    recipe: None = None

    @property
    def folder(self) -> str:
        """Where its files go in the store."""
        return given_folder(self.model, self.name, self.adapter_id)

    def __str__(self) -> str:
        return f"{self.model}/existing/{self.name}"


@dataclass(frozen=True)
class ComposedAdapter:
    """An adapter that is put together of others, its `parts`, in the order of the composition's terms.

    `strength` is the lambda that its weights are of; `seed` that of its trained parts, None where there is none.
    """

    adapter_id: str
    model: str
    name: str
    composition: Composition
    parts: tuple[AdapterUnit | GivenAdapter, ...]
    seed: int | None
    strength: float | None = None
    recipe: str | None = None  # of its trained parts
    source: None = None

    @property
    def folder(self) -> str:
        """Where its files go in the store."""
        return composed_folder(self.model, self.name, self.seed, self.adapter_id)

    def __str__(self) -> str:
        at = "" if self.strength is None else f"@{self.strength:g}"
        by = "".join(f"/{one}" for one in (self.seed, self.recipe) if one is not None)
        return f"{self.model}/composed/{self.name}{at}{by}"


Adapter = AdapterUnit | EpochAdapter | GivenAdapter | ComposedAdapter


@dataclass(frozen=True)
class ScoreUnit:
    """Score one adapter, or the base model where `adapter` is None, on one target."""

    score_id: str
    subject_id: str  # the adapter's id, or the base model's identity
    target_id: str
    model: str
    model_params: int
    adapter: Adapter | None
    target: Cell

    @property
    def unit_id(self) -> str:
        return self.score_id

    def keys(self) -> dict[str, object]:
        """Make the columns that every result row of this unit shares (study.store.schema.KEYS)."""
        target = {"target_task": self.target.task, "target_language": self.target.language}
        return {"score_id": self.score_id, **subject_keys(self.model, self.model_params, self.adapter), **target}

    @property
    def subject(self) -> str:
        """What is scored, for people."""
        return str(self.adapter or f"{self.model}/base")

    def __str__(self) -> str:
        return f"{self.subject} on {self.target}"


def subject_keys(model: str, params: int, adapter: Adapter | None) -> dict[str, object]:
    """Make the columns that say what is scored (the schema's SUBJECT): an adapter, or the base where it is None."""
    source = adapter.source if adapter else None
    return {
        "adapter_id": adapter.adapter_id if adapter else None,
        "model": model,
        "model_params": params,
        "source_task": source.task if source else None,
        "source_language": source.language if source else None,
        "source_size": source.size if source else None,
        "seed": adapter.seed if adapter else None,
        "recipe": adapter.recipe if adapter else None,
        "epoch": adapter.epoch if isinstance(adapter, EpochAdapter) else None,
    }


def failure_of(
    unit: AdapterUnit | ScoreUnit, kind: str, message: str, attempts: int, traceback: str = ""
) -> FailureRecord:
    """Make the record of a unit that ended without a result."""
    subject, target = (unit.subject_id, unit.target_id) if isinstance(unit, ScoreUnit) else (unit.adapter_id, None)
    return FailureRecord(unit.unit_id, str(unit), kind, message, attempts, traceback, subject, target)
