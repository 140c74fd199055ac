"""What choosing lambda asks for: of the offline example, request by request and score by score."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.items.item import check_supported
from orchestrator.costs.prompts import cut_prompts
from orchestrator.planning.doubts import doubts
from orchestrator.planning.grid import Grid, combined, expand, placed
from orchestrator.planning.plan import plan
from orchestrator.planning.survey import Survey, survey
from study.cells import Cell
from study.choosing import Free, places
from study.config import StudyConfig
from study.config.expansion import combinations, held_out
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.models.resolve import resolve_all

LANGUAGES = ("de", "es", "fr")
SIZES = {"add": 3, "add_subtract": 4}  # lambdas of each grid
TESTS = [Cell("digest", language) for language in LANGUAGES]


@pytest.fixture(scope="module")
def config() -> StudyConfig:
    keep = ["targets=[digest/de, digest/es, digest/fr]", "sources=[digest/en, prose/de, prose/en, prose/es, prose/fr]"]
    config = load("examples/compositions/study.yaml", keep)
    free = tuple(one for one in config.compose if one.name in (*SIZES, "factors_b"))
    return config.model_copy(update={"compose": free})


@pytest.fixture(scope="module")
def found(config: StudyConfig) -> Survey:
    return survey(config, TaskLibrary.of(config), check_supported, print)


@pytest.fixture(scope="module")
def grid(config: StudyConfig, found: Survey) -> Grid:
    alone = expand(config, resolve_all(config), found.sources, found.targets, (), found.own_shots)
    return combined(placed(alone, {}), config, found.shots)


def asked(found: Survey, cell: Cell) -> set[str]:
    """The prompts of a cell's requests, as the evaluator makes them too."""
    return {str(request.args[0]) for request in found.library.build_requests(cell)}


def test_other_languages_ask_nothing_in_the_language_of_the_target(config: StudyConfig, found: Survey) -> None:
    """Neither its test items nor those held out, in no request of any composition by which its lambda is chosen."""
    free = [
        Free(one.name, str(one.keys.protocol), one.language, tuple(x for x in one.keys.strengths if x is not None), ())
        for one in combinations(config)
        if one.keys.protocol
    ]
    assert len(free) == 6
    on = {(one.name, replace(cell, held_out=False)) for one in free for cell in held_out(config)}
    requests = {(cell, held): asked(found, replace(cell, held_out=held)) for cell in TESTS for held in (False, True)}
    assert {(len(requests[cell, False]), len(requests[cell, True])) for cell in TESTS} == {(100, 40)}
    for one in free:
        for target in TESTS:
            where = places(one, target, free, on)
            assert {cell.language for _, cell in where} == set(LANGUAGES) - {target.language}
            assert all(name.endswith(f"[{cell.language}]") for name, cell in where)
            read = set().union(*(requests[cell, True] for _, cell in where))
            assert len(read) == 80
            assert not read & (requests[target, False] | requests[target, True])
            assert not read & set().union(*(requests[cell, False] for cell in TESTS))  # nor test items of any


def test_a_composition_asks_for_its_scores_and_each_lambda_for_what_it_is_chosen_on(grid: Grid) -> None:
    """Three tests each, and in its own language one held-out cell more where there is a lambda to choose."""
    made = plan(grid, {}, ())
    asks: dict[str, list[int]] = {}
    for part in made.parts:
        if part.adapter is not None and part.adapter in grid.composed:
            own = [grid.targets[i].held_out for i in part.targets]
            apart = [grid.targets[i].language for i in part.targets if grid.targets[i].held_out]
            assert all(part.adapter.name.endswith(f"[{language}]") for language in apart)
            asks.setdefault(part.adapter.name.partition("[")[0], []).append(sum(own) * 100 + len(own))
    assert asks == {name: [104] * n * len(LANGUAGES) for name, n in SIZES.items()} | {"factors_b": [3]}
    assert sum(part.adapter is None for part in made.parts) == 1
    assert [len(part.targets) for part in made.parts if part.adapter is None] == [6]
    assert len(made.train) == 5  # the sources that the config names
    assert {len(part.targets) for part in made.parts if part.adapter in made.train} == {3}


def test_held_out_prompts_that_a_model_does_not_read_whole_are_told_in_the_plan(
    config: StudyConfig, found: Survey, tmp_path: Path
) -> None:
    """Whose names are no cells' of the config."""
    model = resolve_all(config)[0]
    (tmp_path / "tokenizer.json").write_bytes((Path(model.path) / "tokenizer.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"n_positions": 40}))
    cut = cut_prompts([replace(model, path=str(tmp_path))], found)[model.name]
    apart = {cell: count for cell, count in cut.items() if cell.endswith(" (held out)")}
    assert apart.keys() == {f"{cell} (held out)" for cell in TESTS}
    (line,) = (one for one in doubts(found, {}, {}, {"m": apart}) if "longer than m reads" in one)
    first, count = next(iter(apart.items()))
    assert f" in {first} ({count} of 40), " in line
