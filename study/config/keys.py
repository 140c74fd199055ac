"""The study's configuration: one frozen, strictly checked object, read from YAML.

Unknown keys and wrong types are errors that name the key, the value and the fix. What needs a disk or a
network (do the models, tasks and the store exist?) is checked by `study.models`, `study.data`
and `study.store`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictStr

from study.cells import Cell, Source
from study.config.composition import CompositionConfig
from study.config.distinct import check_sources, reject_duplicates
from study.config.fields import Auto, Count, Frozen, Name, Number, PositiveInt, Resources, name_of
from study.config.recipe import Recipe, Scoring, Validation
from study.config.recipes import resolved
from study.config.stages import Entry, Listed
from study.config.task import TaskConfig
from study.config.texts import TextConfig, recipe_for
from study.errors import ConfigError


class ModelConfig(Frozen):
    """A base model: a hub id or a local directory."""

    id: StrictStr
    name: Name | None = None
    revision: StrictStr | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Literal["nf4", "int8"] | None = None  # of linear modules, by bitsandbytes
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None = None  # as transformers calls them
    family: StrictStr | None = None
    size_billions: Annotated[Number, Field(gt=0)] | None = None
    trust_remote_code: StrictBool = False

    @property
    def called(self) -> str:
        """What rows and folders call it: its `name`, else the last part of its id."""
        return self.name or name_of(self.id)


class Training(Frozen):
    """How training is run. None of it is in the identity."""

    gang_size: Auto | PositiveInt = "auto"
    micro_batch_size: Auto | PositiveInt = "auto"
    micro_batch_tokens: Auto | PositiveInt = "auto"
    workers_per_trial: PositiveInt = 1
    resources_per_worker: Resources = Field(default={"GPU": 1.0})
    packing: StrictBool = False  # short texts share rows, each as if it stood alone
    gradient_checkpointing: StrictBool = False  # layers are computed again in backward passes
    deepspeed: dict[StrictStr, Any] = Field(default={"zero_optimization": {"stage": 2}})


class Evaluators(Frozen):
    min: Count = 0
    max: Auto | PositiveInt = "auto"
    resources: Resources = Field(default={"GPU": 1.0})
    tokens_per_batch: Auto | PositiveInt = "auto"

    @property
    def gpus(self) -> int:
        """Over how many GPUs each splits its base: all that it has, or one where it has a part of one, or none."""
        return max(1, int(self.resources.get("GPU", 1)))


class Failures(Frozen):
    """How often a unit may fail in each way before the study goes on without it; what says nothing for long hangs."""

    node_lost: Count = 20
    killed_for_memory: Count = 4
    hung: Count = 2
    hung_after_s: Annotated[Number, Field(gt=0)] = 600.0
    out_of_memory: Count = 4
    transient: Count = 5


class ExistingAdapter(Frozen):
    """An adapter that was trained elsewhere, scored beside the study's own. `path` is a folder or a hub id."""

    name: Name
    model: StrictStr
    path: StrictStr
    revision: StrictStr | None = None
    source: StrictStr | None = None


class StudyConfig(Frozen):
    """One study. Every key has a default but `models`, `tasks` and `languages`."""

    study: Name = "study"
    store: StrictStr = "runs/study"
    models: Annotated[tuple[ModelConfig, ...], Field(min_length=1)]
    languages: Annotated[tuple[Name, ...], Field(min_length=1)]
    tasks: Annotated[tuple[TaskConfig, ...], Field(min_length=1)]
    texts: tuple[TextConfig, ...] = ()
    sources: Literal["all"] | tuple[Entry, ...] = "all"
    targets: Literal["all"] | tuple[StrictStr, ...] = "all"
    adapters: tuple[ExistingAdapter, ...] = ()
    compose: tuple[CompositionConfig, ...] = ()
    seeds: Annotated[tuple[Count, ...], Field(min_length=1)] = (17, 42, 101)
    recipe: Recipe = Recipe()
    recipes: dict[Name, dict[StrictStr, Any]] = Field(default={})  # what each does otherwise than `recipe`
    scoring: Scoring = Scoring()
    training: Training = Training()
    evaluators: Evaluators = Evaluators()
    failures: Failures = Failures()
    track: tuple[Literal["wandb", "mlflow", "tensorboard"], ...] = ()
    assumed: dict[StrictStr, StrictStr] = Field(default={})  # keys whose values are a guess, and why: said, not used
    trial_run: StrictBool = False  # the mark of `--limit` in a store's study.yaml: no file of a user has it

    def limited(self, limit: int) -> StudyConfig:
        """Cut the study to so many items per target and examples per source: a trial run. Raises ConfigError."""
        if limit < 1:
            raise ConfigError("--limit", limit, "is not a positive number of items", "use --limit 8, say")
        tasks = (
            task.model_copy(update={"train": task.train.model_copy(update={"limit": limit})}) for task in self.tasks
        )
        texts = (text.model_copy(update={"limit": limit}) for text in self.texts)
        scoring = self.scoring.model_copy(update={"limit": limit})
        changed = {"tasks": tuple(tasks), "texts": tuple(texts), "scoring": scoring, "trial_run": True}
        return self.model_copy(update=changed)

    @property
    def families(self) -> tuple[TaskConfig, ...]:
        """All that cells are of: the tasks, and the texts as tasks that are learned from only."""
        return (*self.tasks, *(text.as_task() for text in self.texts))

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where each of `families` is, by its name."""
        names = [*(task.name for task in self.tasks), *(text.name for text in self.texts)]
        return {name: place for place, name in enumerate(names)}

    def task(self, name: str) -> TaskConfig:
        place = self._places[name]
        return self.tasks[place] if place < len(self.tasks) else self.texts[place - len(self.tasks)].as_task()

    def cells(self) -> list[Cell]:
        """List every cell that the tasks and languages span, task by task."""
        return [
            Cell(task.name, language)
            for task in self.families
            for language in self.languages
            if task.exists_in(language)
        ]

    def source_list(self) -> list[Source]:
        """List what to train on: each cell alone, or what `sources` lists, then samples. Raises ConfigError."""
        sources = self._whole_sources()
        alone = [source.cells for source in sources if len(source.cells) == 1 and source.is_plain]
        sizes = [(cells, size) for cells in alone for size in sorted(self.task(cells[0].task).train.sizes)]
        return [*sources, *(Source.of(cells, size) for cells, size in sizes)]

    def _whole_sources(self) -> list[Source]:
        if self.sources == "all":
            return [Source.of([cell]) for cell in self.cells()]
        sources = self._entries().sources()
        check_sources(sources)
        return sources

    def _entries(self) -> Listed:
        entries = () if self.sources == "all" else self.sources
        return Listed(entries, self.cell, [adapter.name for adapter in self.adapters], self.languages)

    def named_source(self, name: str) -> Source | None:
        """The source of a name; None where there is none."""
        return self._entries().named(name)

    def source(self, key: str, texts: Sequence[str]) -> Source:
        """Read a source of some cells, or a stage by its name; `key` is where it is written. Raises ConfigError."""
        if len(texts) == 1 and (stage := self._entries().named(texts[0])):
            return stage
        return Source.of(self._listed(key, texts))

    @cached_property
    def trained_by(self) -> dict[str | None, Recipe]:
        """By name what every source is trained by: each of `recipes`, or `recipe` alone, which has no name."""
        return resolved(self.recipe, self.recipes)

    @property
    def held_out_by(self) -> Validation:
        """What holds out the examples on which a lambda is chosen: recipes that differ in it are refused there."""
        return next(iter(self.trained_by.values())).validation

    def recipe_of(self, source: Source, name: str | None = None) -> Recipe:
        """What a source is trained by under a recipe's name: of texts alone, which say the same, by what they say."""
        return recipe_for(source, self.texts, self.trained_by.get(name, self.recipe))

    def scoring_of(self, cell: Cell) -> Scoring:
        """How a target is scored."""
        return self.task(cell.task).scoring.over(self.scoring)

    def chats(self) -> list[Scoring]:
        """How those tasks are scored that are asked in a chat."""
        found = (task.scoring.over(self.scoring) for task in self.tasks)
        return [scoring for scoring in found if scoring.apply_chat_template]

    def target_list(self) -> list[Cell]:
        """List what to score: every cell, or what `targets` lists. Raises ConfigError for an unknown cell."""
        if self.targets == "all":
            return [cell for cell in self.cells() if self.task(cell.task).lm_eval is not None]
        targets = self._listed("targets", self.targets)
        reject_duplicates("targets", [str(cell) for cell in targets])
        for cell in targets:
            if self.task(cell.task).lm_eval is None and not self.is_text(cell):
                fix = f"give tasks[{cell.task}] an lm_eval, or leave it out here"
                raise ConfigError("targets", cell, "its task names no lm-eval task, so it is learned from only", fix)
        return targets

    def is_text(self, cell: Cell) -> bool:
        """Whether a cell is of raw text, which is no task: as a target it has bits per byte, and no lambda."""
        return any(text.name == cell.task for text in self.texts)

    def scored_texts(self) -> list[Cell]:
        """List the targets that are raw text."""
        return [cell for cell in self.target_list() if self.is_text(cell)] if self.texts else []

    def without_task(self) -> dict[str, list[str]]:
        """List the languages in which a task's table has none, by task."""
        lacking = {t.name: [one for one in self.languages if not t.exists_in(one)] for t in self.tasks}
        return {name: languages for name, languages in lacking.items() if languages}

    def _listed(self, key: str, texts: Sequence[str]) -> list[Cell]:
        return [self.cell(key, text) for text in texts]

    @cached_property
    def _cells(self) -> frozenset[Cell]:
        return frozenset(self.cells())

    def cell(self, key: str, text: str) -> Cell:
        """Read a cell of the study; `key` is where it is written. Raises ConfigError."""
        try:
            cell = Cell.parse(text)
        except ValueError as error:
            raise ConfigError(key, text, str(error), "write task/language") from error
        if cell not in self._cells:
            tasks, languages = ", ".join(t.name for t in self.families), ", ".join(self.languages)
            raise ConfigError(
                key,
                text,
                "no such cell in this study",
                f"use a task of [{tasks}] and a language of [{languages}], or add it there",
            )
        return cell
