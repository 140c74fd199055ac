"""Planning is a pure function: what is asked for, less what is done, in an order that serves its readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.costs.estimate import Estimates
from orchestrator.planning.grid import Grid, combined, expand
from orchestrator.planning.plan import Plan, plan, without
from orchestrator.planning.standing import Tally, of_plan
from orchestrator.progress.numbers import begin
from study.cells import Cell
from study.config import StudyConfig
from study.config.expansion import held_out, learned
from study.config.file import parse
from study.identity import adapter_id, score_id, target_id
from study.models.resolve import Model
from study.store.store import SCORED, Store
from study.units import ScoreUnit, failure_of

TEXT = """
models: [{id: a}, {id: b}]
languages: [en, de]
tasks: [{name: arc, lm_eval: "arc_{language}"}, {name: mmlu, lm_eval: "mmlu_{language}"}]
seeds: [1, 2]
"""


def model(name: str) -> Model:
    return Model(name, name, None, f"identity-{name}", "float32", name, 1.0, 10, False, ())


def grid_of(config: StudyConfig, broken: tuple[Cell, ...] = ()) -> Grid:
    sources = {s: [f"examples {c}" for c in s.cells] for s in learned(config) if not set(s.cells) & set(broken)}
    targets = {cell: f"requests {cell}" for cell in [*config.target_list(), *held_out(config)] if cell not in broken}
    return combined(expand(config, [model(entry.id) for entry in config.models], sources, targets), config, {})


def scores_of(grid: Grid) -> list[ScoreUnit]:
    return [unit for part in grid.parts() for unit in grid.units(part)]


def to_score(to_do: Plan) -> list[ScoreUnit]:
    return [unit for part in to_do.parts for unit in to_do.grid.units(part)]


def trained(grid: Grid) -> dict[str, str]:
    """A store's answer when all adapters of the grid are there."""
    return {unit.adapter_id: unit.model for unit in grid.adapters}


def scored(units: Sequence[ScoreUnit], rows: int = 7) -> list[pa.RecordBatch]:
    """A store's answer when these scores are there, in batches with dictionaries of their own."""
    batches = []
    for start in range(0, len(units), rows):
        some = units[start : start + rows]
        columns = ([getattr(unit, name) for unit in some] for name in SCORED)
        coded = [pa.array(column, pa.string()).dictionary_encode() for column in columns]
        batches.append(pa.record_batch(coded, names=list(SCORED)))
    return batches


def test_the_grid_is_sources_by_targets_by_models_by_seeds_and_the_base() -> None:
    grid = grid_of(parse(TEXT))
    scores = scores_of(grid)
    assert len(grid.adapters) == 2 * 2 * 4
    assert grid.n_scores == len(scores) == 2 * (1 + 2 * 4) * 4
    assert len({unit.score_id for unit in scores}) == len(scores)


def test_the_recorded_grid_names_what_is_scored_and_on_what(tmp_path: Path) -> None:
    grid, store = grid_of(parse(TEXT)), Store(str(tmp_path))
    store.write_grid(*grid.tables())
    read = store.read_grid()
    assert read is not None
    rows = [{**subject, **target} for subject in read[0].to_pylist() for target in read[1].to_pylist()]
    asked = [
        {**unit.keys(), "subject_id": unit.subject_id, "target_id": unit.target_id, "model_family": unit.model}
        for unit in scores_of(grid)
    ]
    named = [{**row, "score_id": score_id(row["subject_id"], row["target_id"])} for row in rows]
    assert named == [{**row, "model_size": 1.0} for row in asked]


def test_ids_are_those_of_the_identity_module() -> None:
    config = parse(TEXT)
    grid = grid_of(config)
    first, seconds = grid.adapters[0], [u for u in scores_of(grid) if u.adapter == grid.adapters[0]]
    assert first.adapter_id == adapter_id("identity-a", ["examples arc/en"], config.recipe, 1)
    assert seconds[1].score_id == score_id(first.adapter_id, target_id("requests arc/de", config.scoring))


def test_base_scores_come_first_and_each_seed_is_a_whole_matrix() -> None:
    grid = grid_of(parse(TEXT))
    of_a = [unit for unit in scores_of(grid) if unit.model == "a"]
    assert all(unit.adapter is None for unit in of_a[:4])
    assert [unit.seed for unit in grid.adapters if unit.model == "a"] == [1] * 4 + [2] * 4


def test_adding_a_language_a_model_or_a_seed_plans_only_what_is_new() -> None:
    before = grid_of(parse(TEXT))
    done = trained(before), scored(scores_of(before))
    old = {unit.score_id for unit in scores_of(before)}
    assert plan(before, *done).is_empty
    for change in ("languages=[en, de, fr]", "models=[{id: a}, {id: b}, {id: c}]", "seeds=[1, 2, 3]"):
        after = grid_of(parse(TEXT, [change]))
        to_do = plan(after, *done)
        assert {u.adapter_id for u in to_do.train} == trained(after).keys() - trained(before).keys()
        assert {u.score_id for u in to_score(to_do)} == {u.score_id for u in scores_of(after)} - old
        assert 0 < to_do.n_scores < after.n_scores
        assert (to_do.stale_adapters.total(), to_do.stale_scores.total()) == (0, 0)


def test_another_recipe_leaves_the_old_results_stale_but_not_the_base() -> None:
    before = grid_of(parse(TEXT))
    to_do = plan(grid_of(parse(TEXT, ["recipe.epochs=1"])), trained(before), scored(scores_of(before)))
    assert (to_do.stale_adapters, to_do.stale_scores) == ({"a": 8, "b": 8}, {"a": 32, "b": 32})
    assert all(unit.adapter is not None for unit in to_score(to_do))


def test_what_is_stale_is_counted_once_however_often_it_stands_there() -> None:
    before, after = grid_of(parse(TEXT)), grid_of(parse(TEXT, ["scoring.num_fewshot=1", "models=[{id: b}]"]))
    to_do = plan(after, trained(before), scored(scores_of(before) * 2, rows=50))
    assert to_do.stale_scores == {"a": 36, "b": 36}
    assert to_do.n_scores == after.n_scores


def test_only_failures_of_units_that_are_to_do_are_known() -> None:
    grid = grid_of(parse(TEXT))
    scores = scores_of(grid)
    to_do = plan(grid, {}, scored(scores[:-3]))
    failures = [failure_of(unit, "nan", "", 1) for unit in (*scores[:2], *scores[-2:], *grid.adapters)]
    failures += [replace(failures[-1], unit_id=name) for name in ("0123456789abcdef", "target arc/en")]
    failures.append(replace(failure_of(scores[-1], "nan", "", 1), unit_id="0123456789abcdef"))  # otherwise identified
    wanted = {scores[-1].unit_id, scores[-2].unit_id, grid.adapters[-1].unit_id}
    assert to_do.asks_for(failures) == wanted


def test_what_is_kept_as_it_failed_is_neither_done_nor_to_do() -> None:
    """An adapter takes its scores with it; done, failed and to do add up, and the books of a run begin with that."""
    grid = grid_of(parse(TEXT))
    scores, lost = scores_of(grid), grid.adapters[-1]
    done = {unit.adapter_id: unit.model for unit in grid.adapters if unit.model == "a"}
    to_do = plan(grid, done, scored([unit for unit in scores if unit.model == "a"][:-2]))
    kept, had = without(to_do, {unit.unit_id: failure_of(unit, "nan", "", 1) for unit in (lost, scores[35])})
    assert had == {lost.unit_id, scores[35].unit_id}
    a, b = of_plan(kept)
    assert (a.adapters, a.scores) == (Tally(8, 0, 0, 0), Tally(34, 0, 1, 1))
    assert (b.adapters, b.scores) == (Tally(0, 0, 1, 7), Tally(0, 0, 4, 32))
    each = {name: [1.0] * 4 for name in "ab"}, {name: [1] * 4 for name in "ab"}
    sources = {name: dict.fromkeys(map(str, (unit.source for unit in grid.adapters)), 1) for name in "ab"}
    ones = dict.fromkeys("ab", 1.0)
    books = begin(
        kept, Estimates(sources, sources, sources, *each, ones, dict.fromkeys("ab", ""), {"train": 1, "score": 1})
    )
    assert books.count("train") == {"done": 8, "of": 16, "this run": 0, "failed": 1, "left": 7}
    assert books.count("score") == {"done": 34, "of": 72, "this run": 0, "failed": 5, "left": 33}


def test_how_it_is_run_is_no_part_of_what_it_is() -> None:
    again = ["training.gang_size=4", "training.workers_per_trial=2", "store=elsewhere", "evaluators.max=1", "study=x"]
    assert grid_of(parse(TEXT)) == grid_of(parse(TEXT, again))


def test_a_broken_cell_takes_only_itself_out() -> None:
    grid = grid_of(parse(TEXT), broken=(Cell("arc", "de"),))
    assert len(grid.adapters) == 2 * 2 * 3
    assert grid.n_scores == 2 * (1 + 2 * 3) * 3


@given(st.sets(st.integers(0, 71)), st.sets(st.integers(0, 15)))
def test_planned_and_done_make_up_the_grid(made: set[int], there: set[int]) -> None:
    grid = grid_of(parse(TEXT))
    scores = scores_of(grid)
    done_scores = {scores[i].score_id for i in made}
    done_adapters = {grid.adapters[i].adapter_id: grid.adapters[i].model for i in there}
    twice = scored([scores[i] for i in made]) * 2
    to_do = plan(grid, done_adapters, twice)
    left = to_score(to_do)
    assert [u.score_id for u in scores if u.score_id not in done_scores] == [u.score_id for u in left]
    available = done_adapters.keys() | {u.adapter_id for u in to_do.train}
    assert all(u.adapter is None or u.adapter.adapter_id in available for u in left)
    assert not {u.adapter_id for u in to_do.train} & done_adapters.keys()
    assert not to_do.stale_scores
