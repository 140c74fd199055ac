"""Planning is a pure function: what is asked for, less what is done, in an order that serves its readers."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan import Grid, batches, expand, plan
from orchestrator.run import trial_name
from study.cells import Cell
from study.config import StudyConfig
from study.load import parse
from study.models import Model

TEXT = """
models: [{id: a}, {id: b}]
languages: [en, de]
tasks: [{name: arc, lm_eval: "arc_{language}"}, {name: mmlu, lm_eval: "mmlu_{language}"}]
seeds: [1, 2]
"""


def model(name: str) -> Model:
    return Model(name, name, None, f"identity-{name}", "float32", name, 1.0, 10, False, ())


def grid_of(config: StudyConfig, broken: tuple[Cell, ...] = ()) -> Grid:
    sources = {s: [f"examples {c}" for c in s.cells] for s in config.source_list() if not set(s.cells) & set(broken)}
    targets = {cell: f"requests {cell}" for cell in config.target_list() if cell not in broken}
    return expand(config, [model(entry.id) for entry in config.models], sources, targets)


def test_the_grid_is_sources_by_targets_by_models_by_seeds_and_the_base() -> None:
    grid = grid_of(parse(TEXT))
    assert len(grid.adapters) == 2 * 2 * 4
    assert len(grid.scores) == 2 * (1 + 2 * 4) * 4
    assert len({unit.score_id for unit in grid.scores}) == len(grid.scores)
    assert len(grid.rows()) == len(grid.scores)


def test_base_scores_come_first_and_each_seed_is_a_whole_matrix() -> None:
    grid = grid_of(parse(TEXT))
    of_a = [unit for unit in grid.scores if unit.model == "a"]
    assert all(unit.adapter is None for unit in of_a[:4])
    assert [unit.seed for unit in grid.adapters if unit.model == "a"] == [1] * 4 + [2] * 4


def test_adding_a_language_a_model_or_a_seed_plans_only_what_is_new() -> None:
    before = grid_of(parse(TEXT))
    done = ({u.adapter_id for u in before.adapters}, {u.score_id for u in before.scores})
    assert plan(before, *done).is_empty
    for change in ("languages=[en, de, fr]", "models=[{id: a}, {id: b}, {id: c}]", "seeds=[1, 2, 3]"):
        after = grid_of(parse(TEXT, [change]))
        todo = plan(after, *done)
        assert {u.adapter_id for u in todo.train} == {u.adapter_id for u in after.adapters} - done[0]
        assert {u.score_id for u in todo.score} == {u.score_id for u in after.scores} - done[1]
        assert 0 < len(todo.score) < len(after.scores)
        assert (todo.stale_adapters, todo.stale_scores) == (0, 0)


def test_another_recipe_leaves_the_old_results_stale_but_not_the_base() -> None:
    before = grid_of(parse(TEXT))
    todo = plan(
        grid_of(parse(TEXT, ["recipe.epochs=1"])),
        {u.adapter_id for u in before.adapters},
        {u.score_id for u in before.scores},
    )
    assert (todo.stale_adapters, todo.stale_scores) == (16, 64)
    assert all(unit.adapter is not None for unit in todo.score)


def test_how_it_is_run_is_no_part_of_what_it_is() -> None:
    again = ["training.gang_size=4", "training.workers_per_trial=2", "store=elsewhere", "evaluators.max=1", "study=x"]
    assert grid_of(parse(TEXT)) == grid_of(parse(TEXT, again))


def test_a_broken_cell_takes_only_itself_out() -> None:
    grid = grid_of(parse(TEXT), broken=(Cell("arc", "de"),))
    assert len(grid.adapters) == 2 * 2 * 3
    assert len(grid.scores) == 2 * (1 + 2 * 3) * 3


@given(st.sets(st.integers(0, 71)), st.sets(st.integers(0, 15)))
def test_planned_and_done_make_up_the_grid(scored: set[int], trained: set[int]) -> None:
    grid = grid_of(parse(TEXT))
    done_scores = {grid.scores[i].score_id for i in scored}
    done_adapters = {grid.adapters[i].adapter_id for i in trained}
    todo = plan(grid, done_adapters, done_scores)
    assert {u.score_id for u in todo.score} | done_scores == {u.score_id for u in grid.scores}
    assert not {u.score_id for u in todo.score} & done_scores
    available = done_adapters | {u.adapter_id for u in todo.train}
    assert all(u.adapter is None or u.adapter.adapter_id in available for u in todo.score)
    assert not {u.adapter_id for u in todo.train} & done_adapters


def test_a_trial_reads_model_task_languages_seed() -> None:
    grid = grid_of(parse(TEXT))
    units = {unit.adapter_id: unit for unit in grid.adapters}

    class Trial:
        config: ClassVar = {"gang": [unit.adapter_id for unit in grid.adapters[:2]]}

    assert trial_name(units, Trial()) == "a/arc/[en,de]/1"


@given(st.integers(1, 9))
def test_batches_keep_every_unit_once_and_never_mix(size: int) -> None:
    grid = grid_of(parse(TEXT))
    handed = batches(grid.scores, size)
    assert [unit for group in handed for unit in group] == list(grid.scores)
    assert all(len(group) <= size and len({u.model for u in group}) == 1 for group in handed)
    whole = [unit.adapter for group in handed for unit in {u.adapter: u for u in group}.values()]
    assert size < 4 or len(whole) == len(set(whole)) + 1, "4 targets fit in a batch: only the bases have two (of a, b)"
