"""Scores wait for the adapters that are to be trained, and for no others."""

from __future__ import annotations

from orchestrator.planning.plan import plan
from orchestrator.scheduling.waiting import Waiting
from study.config.file import parse
from tests.orchestrator.planning.test_plan import TEXT, grid_of

PAIR = """
compose:
  - {name: pair, method: sum, terms: [{source: arc/en}, {source: arc/de, weight: -1}]}
"""


def test_the_scores_of_an_adapter_wait_until_it_is_trained_or_has_failed() -> None:
    grid = grid_of(parse(TEXT))
    first, *others = grid.adapters
    done = {unit.adapter_id: unit.model for unit in others}
    waiting = Waiting(plan(grid, done, ()))
    assert {part.subject for part in waiting.ready} == {
        *(model.identity for model in grid.models),
        *(unit.adapter_id for unit in others),
    }
    (part,) = waiting.of(first.adapter_id)
    assert part.adapter == first
    assert waiting.of(others[0].adapter_id) == []
    assert waiting.trained(first.adapter_id) == [part]
    assert waiting.of(first.adapter_id) == waiting.trained(first.adapter_id) == []
    assert Waiting(plan(grid, done, ())).lost(first.adapter_id) == [part]


def test_a_combination_waits_for_all_its_parts_and_is_lost_with_any() -> None:
    grid = grid_of(parse(TEXT + PAIR))
    combined = grid.composed[0]
    one, other = combined.parts
    waiting = Waiting(plan(grid, {}, ()))
    assert [part.adapter for part in waiting.trained(one.adapter_id)] == [one]
    assert [part.adapter for part in waiting.of(other.adapter_id)] == [other, combined]
    assert [part.adapter for part in waiting.trained(other.adapter_id)] == [other, combined]
    waiting = Waiting(plan(grid, {}, ()))
    assert combined in [part.adapter for part in waiting.lost(one.adapter_id)]
    assert [part.adapter for part in waiting.trained(other.adapter_id)] == [other]
