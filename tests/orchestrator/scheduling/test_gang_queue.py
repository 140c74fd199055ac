"""The queue of gangs between two threads: how many run, who finds no place, when a trainer has nothing to do."""

from __future__ import annotations

import pytest

from orchestrator.scheduling.gang_queue import Gang, GangQueue
from study.cells import Cell, Source
from study.units import AdapterUnit


def gang(*names: str, model: str = "m") -> Gang:
    return tuple(AdapterUnit(name, model, Source.of([Cell("task", name)]), 17) for name in names)


def test_gangs_go_out_in_order_as_many_as_are_allowed_and_those_of_the_warm_model_first() -> None:
    gangs = GangQueue([gang("a"), gang("b", model="other"), gang("c")])
    assert gangs.next("first") is None
    gangs.allow(1)
    assert gangs.next("first") == gang("a")
    assert gangs.next("second") is None
    gangs.ended("first", "result", {"trained": ["a"]})
    assert gangs.events.get_nowait() == ("result", {"trained": ["a"]})
    assert gangs.next("second") == gang("c")
    assert gangs.state() == ([gang("b", model="other")], [gang("c")])


def test_a_gang_that_left_its_place_is_next_without_those_it_lost_and_with_what_it_has_spent() -> None:
    gangs = GangQueue([gang("a", "b"), gang("c")])
    gangs.allow(1)
    gangs.next("first")
    lost = [{"unit_id": "a", "kind": "nan"}]
    gangs.left("first", {"node_lost": 3}, lost)
    assert gangs.events.get_nowait() == ("result", {"trained": [], "rejected": lost})
    assert gangs.next("second") == gang("b")
    assert gangs.attempts(gang("b")) == {"node_lost": 3}
    assert gangs.attempts(gang("c")) == {}


def test_a_trainer_that_may_do_nothing_is_let_go_of_and_a_trial_without_a_place_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gangs = GangQueue([gang(name) for name in "abcd"])
    gangs.allow(2)
    assert gangs.next("first")
    assert gangs.next("second")
    assert gangs.next("third") is None
    gangs.placed("first")
    assert not gangs.starves()
    monkeypatch.setattr("orchestrator.scheduling.gang_queue.PLACED_WITHIN_S", -1.0)
    assert gangs.starves()
    gangs.placed("second")
    assert not gangs.starves()
    monkeypatch.setattr("orchestrator.scheduling.gang_queue.IDLE_S", 0.0)
    assert not gangs.is_over()  # both work
    gangs.ended("second", "result", {})
    assert not gangs.is_over()  # the second may go on
    gangs.allow(1)
    assert gangs.is_over()
    monkeypatch.setattr("orchestrator.scheduling.gang_queue.IDLE_S", 1000.0)
    assert not gangs.is_over()  # not yet
    gangs.keeps_none()
    monkeypatch.setattr("orchestrator.scheduling.gang_queue.IDLE_S", 0.0)
    assert not gangs.is_over()  # Tune has begun anew, so there is none to let go of


def test_tune_begins_anew_after_many_trials_of_each_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.scheduling.gang_queue.TRIALS_EACH", 2)
    gangs = GangQueue([gang(name) for name in "abcdefg"])
    gangs.allow(2)
    for begun in range(2):  # three trials, two of them at once: one less than they may have
        assert not gangs.is_over()
        for number in range(2):
            assert gangs.next(f"{begun} {number}")
        gangs.ended(f"{begun} 0", "result", {})
        assert gangs.next(f"{begun} 2")
        assert not gangs.is_over()
        for number in (1, 2):
            gangs.ended(f"{begun} {number}", "result", {})
        if begun == 0:
            gangs.keeps_none()
    assert gangs.next("last")
    assert gangs.is_over()
    gangs.ended("last", "result", {})
    assert gangs.state() == ([], [])
