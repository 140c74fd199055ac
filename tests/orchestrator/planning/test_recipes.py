"""Recipes as an axis in planning: every source once per recipe, model and seed, and nothing that is there twice."""

from __future__ import annotations

from pathlib import Path

from orchestrator.planning.grid import Grid, combined, expand, placed
from orchestrator.planning.plan import plan
from orchestrator.planning.standing import of_plan, of_store
from orchestrator.scheduling.gangs import Place, planned
from orchestrator.scheduling.waiting import Waiting
from study.cells import Source
from study.config import StudyConfig
from study.config.expansion import learned, works
from study.config.file import parse
from study.data.example import Example
from study.store.composed import recipes
from study.store.layout import epoch_id
from study.store.store import Store
from study.units import EpochAdapter
from tests.orchestrator.planning.test_plan import TEXT, grid_of, model, scored, scores_of, trained

COMPOSE = "compose: [{name: both, method: sum, terms: [{source: arc/en}, {source: arc/de}]}]\n"
TWO = TEXT + "recipes: {low: {lora: {r: 4}}, plain: {}}\n"
MIXED = TEXT + "sources: [arc/en, [arc/en, arc/de]]\nrecipes: {size: {}, even: {mixing: {weights: uniform}}}\n"


def test_a_grid_of_recipes_has_the_ids_of_its_recipes_alone() -> None:
    both, plain, low = (grid_of(parse(text)) for text in (TWO, TEXT, TEXT + "recipe: {lora: {r: 4}}\n"))
    ids = [{unit.adapter_id for unit in grid.adapters} for grid in (both, plain, low)]
    assert ids[0] == ids[1] | ids[2]
    assert len(both.adapters) == 2 * 2 * 2 * 4
    assert [str(unit) for unit in both.adapters[3:5]] == ["a/mmlu/[de]/1/low", "a/arc/[en]/1/plain"]
    names = {unit.folder.rsplit("/", 1)[1].rpartition("-")[0] for unit in both.adapters}
    assert names == {f"seed{seed}-{name}" for seed in (1, 2) for name in ("low", "plain")}
    subjects = both.tables()[0].to_pylist()
    assert {row["recipe"] for row in subjects} == {None, "low", "plain"}
    assert {row["recipe"] for row in plain.tables()[0].to_pylist()} == {None}
    assert not plain.by_recipe().num_rows


def test_what_one_recipe_alone_has_made_is_found_where_it_is() -> None:
    plain, both = grid_of(parse(TEXT)), grid_of(parse(TWO))
    folders = {unit.adapter_id: unit.folder for unit in plain.adapters}
    found = placed(both, folders)
    assert {unit.folder for unit in found.adapters if unit.recipe == "plain"} == set(folders.values())
    to_do = plan(found, trained(plain), scored(scores_of(plain)))
    assert {unit.recipe for unit in to_do.train} == {"low"}
    assert not to_do.stale_scores
    assert of_plan(to_do)[0].adapters == of_plan(to_do)[1].adapters
    back = placed(plain, {unit.adapter_id: unit.folder for unit in both.adapters})
    assert {unit.folder for unit in back.adapters} < {unit.folder for unit in both.adapters}


def test_what_two_recipes_come_to_is_trained_once_and_stands_for_both(tmp_path: Path) -> None:
    grid = grid_of(parse(MIXED))
    assert len(grid.adapters) == 2 * 2 * 3
    of: dict[str, list[str]] = {}
    for adapter_id, name in grid.recipes:
        of.setdefault(adapter_id, []).append(name)
    single = {unit.adapter_id for unit in grid.adapters if len(unit.source.cells) == 1}
    assert all((of[unit.adapter_id] == ["size", "even"]) == (unit.adapter_id in single) for unit in grid.adapters)
    store = Store(str(tmp_path))
    store.write_grid(*grid.tables(), **grid.named())
    assert [tuple(row.values()) for row in recipes(store).to_pylist()] == list(grid.recipes)
    assert [one.scores.to_do for one in of_store(store)[0]] == [7 * 4, 7 * 4]


def test_a_composition_is_of_one_recipes_adapters() -> None:
    grid = grid_of(parse(TWO + COMPOSE))
    recipe_of = {unit.adapter_id: unit.recipe for unit in grid.adapters}
    assert len(grid.composed) == 2 * 2 * 2
    for one in grid.composed:
        assert {recipe_of[part.adapter_id] for part in one.parts} == {one.recipe}
    assert {str(one) for one in grid.composed if one.model == "a"} == {
        f"a/composed/both/{seed}/{name}" for seed in (1, 2) for name in ("low", "plain")
    }
    assert {row["recipe"] for row in grid.compositions().to_pylist()} == {"low", "plain"}
    alone = grid_of(parse(TEXT + COMPOSE))
    assert {one.adapter_id for one in alone.composed} < {one.adapter_id for one in grid.composed}


def test_only_recipes_that_stay_near_the_base_are_named_by_prompts() -> None:
    text = TEXT + "recipes: {plain: {}, near: {keep_near_base: {kl: 0.1}}}\n"

    def near(config: StudyConfig) -> Grid:
        sources = {one: [*(f"examples {cell}" for cell in one.cells), "prompts"] for one in learned(config)}
        return combined(expand(config, [model("a")], sources, {}), config, {})

    plain = {unit.adapter_id for unit in grid_of(parse(TEXT)).adapters if unit.model == "a"}
    assert {unit.adapter_id for unit in near(parse(text)).adapters if unit.recipe == "plain"} == plain


def test_gangs_are_of_one_recipe_and_sized_by_it() -> None:
    config = parse(TWO + "training: {gang_size: 3}\n")
    grid, examples = grid_of(config), dict.fromkeys(config.source_list(), 10)
    tokens = {name: dict.fromkeys(works(config, examples), 100) for name in ("a", "b")}
    rows = dict.fromkeys(examples, [Example("who", "me")] * 10)
    found = planned(config, plan(grid, {}, []), rows, tokens, Place(1, 1 << 30))
    assert all(len({unit.recipe for unit in gang}) == 1 for gang in found)
    assert sorted(unit.adapter_id for gang in found for unit in gang) == sorted(one.adapter_id for one in grid.adapters)


def test_training_ends_where_steps_or_epochs_do() -> None:
    config = parse(TEXT + "recipe: {epochs: 2, batch_size: 8, max_steps: 5}\n")
    assert [config.recipe.passes(rows) for rows in (80, 16, 8)] == [0.5, 2, 2]
    assert list(works(config, [Source.of(config.cells()[:1])])) == ["arc/en"]


SHOWN = TEXT + "recipe: {epochs: 3, score_epochs: all}\n"


def test_every_epoch_is_a_subject_and_the_kept_one_is_its_adapter(tmp_path: Path) -> None:
    plain, grid = grid_of(parse(TEXT + "recipe: {epochs: 3}\n")), grid_of(parse(SHOWN))
    assert {unit.adapter_id for unit in grid.adapters}.isdisjoint(unit.adapter_id for unit in plain.adapters)
    assert len(grid.epochs) == 3 * len(grid.adapters)
    assert grid.epochs[1].folder == f"{grid.adapters[0].folder}/epoch2"
    assert str(grid.epochs[1]) == "a/arc/[en]/1/epoch2"
    kept = {epoch_id(unit.adapter_id, 2) for unit in grid.adapters}
    done = scored(
        [score for score in scores_of(grid) if score.subject_id not in {one.adapter_id for one in grid.epochs}]
    )
    to_do = plan(grid, trained(grid), done, kept)
    assert not to_do.train
    assert {part.adapter.epoch for part in to_do.parts if isinstance(part.adapter, EpochAdapter)} == {1, 3}
    assert len(to_do.parts) == 2 * len(grid.adapters)
    gone = {name: model for name, model in trained(grid).items() if name != grid.adapters[0].adapter_id}
    anew = plan(grid, gone, done, kept)
    assert [unit.adapter_id for unit in anew.train] == [grid.adapters[0].adapter_id]
    waiting = Waiting(anew)
    assert {part.adapter.epoch for part in waiting.trained(grid.adapters[0].adapter_id)} == {1, 3}  # type: ignore[union-attr]
    silent = grid_of(parse(SHOWN + "sources: [arc/en]\n" + COMPOSE))
    assert {one.source.language for one in silent.epochs} == {"en"}
    assert not grid_of(parse(TEXT + "recipe: {epochs: 1, score_epochs: all}\n")).epochs
