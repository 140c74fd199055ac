"""Scores wait for the adapters that are to be trained, and for no others."""

from __future__ import annotations

from orchestrator.planning.plan import plan
from orchestrator.scheduling.waiting import Waiting
from study.config.file import parse
from tests.orchestrator.planning.test_plan import TEXT, grid_of


def test_the_scores_of_an_adapter_wait_until_it_is_trained_or_has_failed() -> None:
    grid = grid_of(parse(TEXT))
    first, *others = grid.adapters
    waiting = Waiting(plan(grid, {unit.adapter_id: unit.model for unit in others}, ()))
    assert {part.subject for part in waiting.ready} == {
        *(model.identity for model in grid.models),
        *(unit.adapter_id for unit in others),
    }
    part = waiting.of(first.adapter_id)
    assert part is not None
    assert part.adapter == first
    assert waiting.of(others[0].adapter_id) is None
    assert waiting.take(first.adapter_id) == part
    assert waiting.of(first.adapter_id) is waiting.take(first.adapter_id) is None
