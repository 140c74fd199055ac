"""What is tried again of a batch that failed: all of it within its budget, then its halves."""

from __future__ import annotations

import pytest

from orchestrator.scheduling.backlog import Batch
from orchestrator.scheduling.retry import again, later
from study.cells import Cell
from study.config import Failures
from study.units import ScoreUnit

FAILURES = Failures(node_lost=2, transient=1)


def batch(count: int, **attempts: int) -> Batch:
    units = tuple(ScoreUnit(f"s{i}", "m", f"t{i}", "m", 1, None, Cell("task", f"l{i}")) for i in range(count))
    return Batch(units, 10.0, attempts)


def test_a_batch_is_tried_again_as_it_is_until_its_budget_is_spent() -> None:
    first = batch(4, transient=1)
    (second,) = again(first, "node_lost", True, FAILURES, now=100.0)
    assert (second.units, second.seconds, second.attempts) == (first.units, 10.0, {"transient": 1, "node_lost": 1})
    assert second.not_before > 100.0
    (at_once,) = again(first, "out_of_memory", True, FAILURES, now=100.0)
    assert at_once.not_before == 100.0
    assert again(batch(1, node_lost=2), "node_lost", True, FAILURES, now=100.0) == []
    assert again(batch(4, node_lost=2), "node_lost", False, FAILURES, now=100.0) == []
    assert again(batch(4), "no_space", True, FAILURES, now=100.0) == []


def test_halves_are_tried_where_one_unit_may_be_at_fault() -> None:
    halves = again(batch(5, node_lost=2), "node_lost", True, FAILURES, now=100.0)
    assert [[unit.score_id for unit in half.units] for half in halves] == [["s0", "s1", "s2"], ["s3", "s4"]]
    assert [half.seconds for half in halves] == pytest.approx([6.0, 4.0])
    assert [half.attempts for half in halves] == [{"node_lost": 2}] * 2
    assert [half.not_before for half in halves] == [0.0, 0.0]


def test_units_that_met_passing_trouble_wait_alone() -> None:
    whole = batch(5)
    (rest,) = later(whole, whole.units[3:], FAILURES, now=100.0)
    assert (rest.units, rest.seconds, rest.attempts) == (whole.units[3:], pytest.approx(4.0), {"transient": 1})
    assert later(rest, rest.units, FAILURES, now=200.0) == []
    assert later(whole, (), FAILURES, now=100.0) == []
