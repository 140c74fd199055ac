"""The queue of gangs between two threads: how many run, who finds no place, when a trainer has nothing to do."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.scheduling.gang_queue import GangQueue
from orchestrator.scheduling.gangs import Gang
from orchestrator.scheduling.waits import Waits
from study.cells import Cell, Source
from study.units import AdapterUnit


def gang(*names: str, model: str = "m") -> Gang:
    return tuple(AdapterUnit(name, model, Source.of([Cell("task", name)]), 17) for name in names)


def test_gangs_go_out_in_order_as_many_as_are_allowed_and_those_of_the_warm_model_first() -> None:
    gangs: GangQueue[str] = GangQueue([gang("a"), gang("b", model="other"), gang("c")])
    assert gangs.next("first") is None
    gangs.allow(1)
    assert gangs.next("first") == gang("a")
    assert gangs.next("second") is None
    gangs.ended("first", "a is trained")
    assert gangs.events.get_nowait() == "a is trained"
    assert gangs.next("second") == gang("c")
    assert gangs.state() == ([gang("b", model="other")], [gang("c")])


def test_a_gang_that_gave_up_its_place_is_next_without_those_it_lost_and_with_what_it_has_spent() -> None:
    gangs: GangQueue[str] = GangQueue([gang("a", "b"), gang("c")])
    gangs.allow(1)
    gangs.next("first")
    gangs.moved("first", {"node_lost": 3}, {"a"}, "a has failed")
    assert gangs.events.get_nowait() == "a has failed"
    assert gangs.next("second") == gang("b")
    assert gangs.attempts(gang("b")) == {"node_lost": 3}
    assert gangs.attempts(gang("c")) == {}


def test_a_trial_without_a_place_is_noticed_after_a_while() -> None:
    patient: GangQueue[str] = GangQueue([gang("a"), gang("b")])
    hasty: GangQueue[str] = GangQueue([gang("a"), gang("b")], Waits(placed_s=-1.0))
    for gangs, starves in ((patient, False), (hasty, True)):
        gangs.allow(2)
        assert gangs.next("first")
        assert gangs.next("second")
        assert gangs.next("third") is None
        gangs.placed("first")
        assert gangs.starves() == starves
        gangs.placed("second")
        assert not gangs.starves()


def test_a_trainer_that_may_do_nothing_is_let_go_of() -> None:
    for idle_s, is_over in ((0.0, True), (1000.0, False)):
        gangs: GangQueue[str] = GangQueue([gang(name) for name in "abcd"], Waits(idle_s=idle_s))
        gangs.allow(2)
        assert gangs.next("first")
        assert gangs.next("second")
        assert not gangs.is_over()  # both work
        gangs.ended("second", "b is trained")
        assert not gangs.is_over()  # the second may go on
        gangs.allow(1)
        assert gangs.is_over() == is_over  # where it is patient, not yet
        gangs.keeps_none()
        assert not gangs.is_over()  # Tune has begun anew, so there is none to let go of


def test_tune_begins_anew_after_many_trials_of_each_trainer() -> None:
    gangs: GangQueue[str] = GangQueue([gang(name) for name in "abcdefg"], trials_each=2)
    gangs.allow(2)
    for begun in range(2):  # three trials, two of them at once: one less than they may have
        assert not gangs.is_over()
        for number in range(2):
            assert gangs.next(f"{begun} {number}")
        gangs.ended(f"{begun} 0", "trained")
        assert gangs.next(f"{begun} 2")
        assert not gangs.is_over()
        for number in (1, 2):
            gangs.ended(f"{begun} {number}", "trained")
        if begun == 0:
            gangs.keeps_none()
    assert gangs.next("last")
    assert gangs.is_over()
    gangs.ended("last", "trained")
    assert gangs.state() == ([], [])


def test_a_gang_waits_for_what_its_members_begin_with() -> None:
    first, other = gang("a"), gang("b")
    after = tuple(replace(unit, start=start) for unit, start in zip(gang("c", "d"), (*first, *other), strict=True))
    elsewhere = tuple(replace(unit, start=first[0]) for unit in gang("e"))
    gangs: GangQueue[str] = GangQueue([after, first, other, elsewhere])
    gangs.allow(4)
    assert gangs.able() == [first, other]
    assert (gangs.next("1"), gangs.next("2"), gangs.next("3")) == (first, other, None)
    assert gangs.able() == []
    gangs.ended("1", "a is trained")
    gangs.trained("a")
    assert gangs.able() == [elsewhere]
    assert gangs.next("3") == elsewhere
    gangs.lost({"d"})  # for b has failed
    gangs.trained("b")
    assert gangs.state()[0] == [after[:1]]
    assert gangs.next("4") == after[:1]
    alone: GangQueue[str] = GangQueue([elsewhere])  # what it begins with was there before
    alone.allow(1)
    assert alone.next("1") == elsewhere


def test_a_queue_of_which_nothing_can_begin_any_more_is_over() -> None:
    first = gang("a")
    after = tuple(replace(unit, start=first[0]) for unit in gang("b"))
    gangs: GangQueue[str] = GangQueue([first, after])
    gangs.allow(1)
    gangs.next("1")
    gangs.ended("1", "a has failed")
    assert gangs.able() == [after]  # nothing runs: it is told in a moment what becomes of it
    assert gangs.is_wanted()
    gangs.lost({"b"})
    assert not gangs.is_wanted()
