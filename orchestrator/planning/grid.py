"""The grid: every unit a config asks for, each named by its identity.

Scores are written as adapters × targets and become units, with their ids, only when somebody asks for them: a study may
have 100,000 adapters and 100 million scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from orchestrator.planning.composed import Composed, composed
from study.cells import Cell, Source
from study.choosing import tried_of, tried_on
from study.config import Recipe, StudyConfig
from study.identity import Names, adapter_ids, score_id, target_id
from study.models.resolve import Model
from study.store import schema
from study.store.layout import epoch_id
from study.units import Adapter, AdapterUnit, ComposedAdapter, EpochAdapter, GivenAdapter, ScoreUnit, subject_keys


@dataclass(frozen=True, slots=True)
class Part:
    """Scores of one adapter, or of the base where it is None: on which targets, as indices into the grid's."""

    model: Model
    adapter: Adapter | None
    targets: Sequence[int]

    @property
    def subject(self) -> str:
        """What the scores are of: the adapter's id, or the base model's identity."""
        return self.adapter.adapter_id if self.adapter else self.model.identity

    @property
    def needs(self) -> list[str]:
        """The adapters that must be trained before it is scored: its own, or those it is put together of."""
        parts = self.adapter.parts if isinstance(self.adapter, ComposedAdapter) else (self.adapter,)
        units = (part.of if isinstance(part, EpochAdapter) else part for part in parts)
        return [part.adapter_id for part in units if isinstance(part, AdapterUnit)]


@dataclass(frozen=True)
class Grid:
    """Every unit the config asks for, in the order in which it should be done.

    `composed` has each adapter once, `names` all that it is called; adapters that are `silent` are trained as parts of
    these, or to begin with, and scored on nothing.
    """

    models: tuple[Model, ...]
    targets: tuple[Cell, ...]
    target_ids: tuple[str, ...]
    adapters: tuple[AdapterUnit, ...]
    existing: tuple[GivenAdapter, ...] = ()
    composed: tuple[ComposedAdapter, ...] = ()
    names: tuple[Composed, ...] = ()
    silent: frozenset[str] = frozenset()
    epochs: tuple[EpochAdapter, ...] = ()  # of adapters all of whose epochs are scored
    recipes: tuple[tuple[str, str], ...] = ()  # an adapter and the name of a recipe that it is trained by, in order

    @property
    def n_scores(self) -> int:
        return sum(len(part.targets) for part in self.parts())

    @property
    def held_out(self) -> list[str]:
        """The target_ids of items on which a lambda is chosen."""
        return [name for name, cell in zip(self.target_ids, self.targets, strict=True) if cell.held_out]

    def given_starts(self) -> set[GivenAdapter]:
        """Adapters that exist already and that others begin with."""
        return {unit.start for unit in self.adapters if isinstance(unit.start, GivenAdapter)}

    def given_parts(self) -> set[GivenAdapter]:
        """Adapters that exist already and are parts of combinations."""
        return {part for one in self.composed for part in one.parts if isinstance(part, GivenAdapter)}

    def parts(self) -> Iterator[Part]:
        """All scores, model by model: of the base, adapters that need no training, trained ones, composed ones.

        Of items on which a lambda is chosen, that is those of the base, and of what is made of more than one lambda
        where its choice reads them.
        """
        everything: Sequence[int] = range(len(self.targets))
        measured = [i for i in everything if not self.targets[i].held_out] if self.held_out else everything
        tried = self._tried
        of_model: dict[str, list[Adapter]] = {model.name: [] for model in self.models}
        for given in self.existing:
            of_model[given.model].append(given)
        for trained in self.adapters:
            if trained.adapter_id not in self.silent:
                of_model[trained.model].append(trained)
        for shown in self.epochs:
            of_model[shown.model].append(shown)
        for made in self.composed:
            of_model[made.model].append(made)
        for model in self.models:
            yield Part(model, None, everything)
            for adapter in of_model[model.name]:
                yield Part(model, adapter, tried.get(adapter.adapter_id, measured))

    @cached_property
    def _tried(self) -> dict[str, list[int]]:
        """The targets of what is made of more than one lambda, with those that choose it, by adapter_id."""
        measured = [i for i, cell in enumerate(self.targets) if not cell.held_out]
        # by its rows, as who reads the store has it: a term that comes to nothing is in none
        tried = tried_on(tried_of(one.row() for one in self.names if one.combination.keys.protocol), self.targets)
        return {name: sorted([*measured, *apart]) for name, apart in tried.items()}

    def unit(self, part: Part, target: int) -> ScoreUnit:
        subject, wanted = part.subject, self.target_ids[target]
        name = score_id(subject, wanted)
        return ScoreUnit(name, subject, wanted, part.model.name, part.model.params, part.adapter, self.targets[target])

    def units(self, part: Part) -> list[ScoreUnit]:
        return [self.unit(part, target) for target in part.targets]

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """What is scored and on what, as tables of study.store.schema.SUBJECTS and TARGETS."""
        subjects = [
            {
                "subject_id": part.subject,
                **subject_keys(part.model.name, part.model.params, part.adapter),
                "model_size": part.model.size_billions,
                "model_family": part.model.family,
            }
            for part in self.parts()
        ]
        targets: list[dict[str, object]] = [
            {"target_id": name, "target_task": cell.task, "target_language": cell.language}
            for name, cell in zip(self.target_ids, self.targets, strict=True)
        ]
        return schema.table(schema.SUBJECTS, subjects), schema.table(schema.TARGETS, targets)

    def compositions(self) -> pa.Table:
        """What of it is put together of others, as a table of study.store.schema.COMPOSITIONS."""
        return schema.table(schema.COMPOSITIONS, [one.row() for one in self.names])

    def named(self) -> dict[str, pa.Table | list[str]]:
        """What it says of them beside `tables`, by the names of study.store.schema.GRID."""
        tables = {"compositions": self.compositions(), "recipes": self.by_recipe(), "starts": self.starts()}
        return {**tables, "held_out": self.held_out}

    def by_recipe(self) -> pa.Table:
        """By which of several recipes its adapters are trained, as a table of study.store.schema.RECIPES."""
        of: dict[str, list[str]] = {}
        for name, recipe in self.recipes:
            of.setdefault(name, []).append(recipe)
        shown = ((one.adapter_id, recipe) for one in self.epochs for recipe in of.get(one.of.adapter_id, ()))
        named = ((one.adapter.adapter_id, one.adapter.recipe) for one in self.names if one.adapter.recipe is not None)
        every = (*self.recipes, *shown, *named)
        return schema.table(schema.RECIPES, [{"adapter_id": name, "recipe": recipe} for name, recipe in every])

    def starts(self) -> pa.Table:
        """Which adapters begin with others, as a table of study.store.schema.STARTS."""
        begun = ((unit, unit.start) for unit in self.adapters if unit.start is not None)
        rows: list[dict[str, object]] = [
            {"adapter_id": unit.adapter_id, "model": unit.model, "start_id": start.adapter_id} for unit, start in begun
        ]
        return schema.table(schema.STARTS, rows)


def expand(
    config: StudyConfig,
    models: Sequence[Model],
    sources: Mapping[Source, list[str]],
    targets: Mapping[Cell, str],
    existing: Sequence[GivenAdapter] = (),
    own_shots: Mapping[Cell, int] | None = None,
) -> Grid:
    """All units of a config. `sources` and `targets` map the usable cells to their data fingerprints.

    `own_shots` are the few-shot examples of a cell's task, where the config leaves them to the tasks. Adapters come
    model by model and seed by seed, so that a full matrix appears early.
    """
    adapters = [unit for model in models for unit in _trained(config, model, sources, existing)]
    named = [(unit.adapter_id, unit.recipe) for unit in adapters if unit.recipe is not None]
    if named:  # what two recipes come to is trained once
        first: dict[tuple[str, Source], AdapterUnit] = {}
        adapters = [unit for unit in adapters if first.setdefault((unit.adapter_id, unit.source), unit) is unit]
    shots = own_shots or {}
    target_ids = (target_id(print_, config.scoring_of(cell), shots.get(cell, 0)) for cell, print_ in targets.items())
    scored = set(config.source_list())
    silent = frozenset(unit.adapter_id for unit in adapters if unit.source not in scored)
    return Grid(
        tuple(models),
        tuple(targets),
        tuple(target_ids),
        tuple(adapters),
        tuple(existing),
        silent=silent,
        epochs=tuple(_shown(config, (unit for unit in adapters if unit.adapter_id not in silent))),
        recipes=tuple(named),
    )


def _trained(
    config: StudyConfig, model: Model, sources: Mapping[Source, list[str]], existing: Sequence[GivenAdapter]
) -> Iterator[AdapterUnit]:
    """The adapters of a model, recipe by recipe within a seed; equal ones stand for each recipe that comes to them.

    What others begin with comes before them. One that begins with an adapter that exists is of that one's model.
    """
    recipes = {(name, source): config.recipe_of(source, name) for name in config.trained_by for source in sources}
    id_of: dict[Recipe, Names] = {
        recipe: adapter_ids(model.identity, recipe, model.adapted(recipe)) for recipe in dict.fromkeys(recipes.values())
    }
    each: list[tuple[str | None, Source, list[str], Names]] = []  # what is the same for all seeds
    for (name, source), recipe in recipes.items():
        prints = sources[source] if recipe.keep_near_base.kl else sources[source][: len(source.cells)]
        each.append((name, source, prints, id_of[recipe]))
    given = {one.name: one for one in existing if one.model == model.name}
    for seed in config.seeds:
        made: dict[tuple[str | None, Source], AdapterUnit] = {}
        for name, source, prints, named in each:
            begins = source.start
            if begins is None:
                made[name, source] = AdapterUnit(named(prints, seed), model.name, source, seed, name)
            elif start := given.get(begins) if isinstance(begins, str) else made.get((name, begins)):
                unit = AdapterUnit(named(prints, seed, start.adapter_id), model.name, source, seed, name, start=start)
                made[name, source] = unit
        yield from made.values()


def _shown(config: StudyConfig, units: Iterable[AdapterUnit]) -> Iterator[EpochAdapter]:
    for unit in units:
        for number in range(1, config.recipe_of(unit.source, unit.recipe).shown_epochs + 1):
            yield EpochAdapter(epoch_id(unit.adapter_id, number), unit, number)


def placed(grid: Grid, folders: Mapping[str, str]) -> Grid:
    """A grid whose adapters are where a store has them: a folder is named after the recipe that it was made under."""
    found = {unit: replace(unit, found=folders.get(unit.adapter_id)) for unit in grid.adapters}
    epochs = tuple(replace(one, of=found[one.of]) for one in grid.epochs)
    return replace(grid, adapters=tuple(found.values()), epochs=epochs)


def combined(grid: Grid, config: StudyConfig, searched_on: Mapping[tuple[Cell, int], str]) -> Grid:
    """A grid with what the config puts together of its adapters.

    `searched_on` are the digests of examples on which weights are searched, by their cell and how many they are.
    """
    names = composed(config, grid.models, grid.adapters, grid.existing, searched_on, grid.recipes)
    made = {one.adapter.adapter_id: one.adapter for one in names}
    return replace(grid, composed=tuple(made.values()), names=tuple(names))
