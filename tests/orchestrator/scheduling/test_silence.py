"""Which silence is too long: learned from the longest step, never below the limit, and by the watcher's clock alone."""

from __future__ import annotations

import json

import pytest

from orchestrator.cluster.beats import Pulse
from orchestrator.scheduling.silence import (
    CAP_S,
    LEAST_TIMES,
    LOADING_TIMES,
    MOST_S,
    TIMES,
    Awake,
    Beat,
    Duty,
    SetBack,
    Silences,
    Unanswered,
)
from study import pulse
from study.pulse import LOADING, WORKING, Reached, loading

LIMIT_S = 60.0


def scoring(expected_s: float = 0.0) -> Duty:
    return Duty("m, scoring", "m", WORKING, expected_s)


def test_what_says_its_steps_may_take_as_long_as_it_likes() -> None:
    silences, duty = Silences(LIMIT_S), scoring()
    for minute in range(1000):
        silences.hear({"a": duty}, {"a": Beat(minute, WORKING)}, minute * 59.0)
        assert silences.too_long(minute * 59.0) == {}
    silences.hear({"a": duty}, {"a": Beat(999, WORKING)}, 999 * 59.0 + 61)
    assert silences.too_long(999 * 59.0 + 61) == {"a": 61.0}


def test_silence_may_last_many_times_the_longest_step_that_any_process_of_the_model_took() -> None:
    silences, slow, other = Silences(LIMIT_S), scoring(), scoring()
    silences.hear({"a": slow}, {"a": Beat(2, WORKING, {WORKING: 10.0})}, 0.0)
    silences.hear({"b": other}, {}, 0.0)
    assert silences.too_long(10 * TIMES) == {}
    assert silences.too_long(10 * TIMES + 1) == {"b": 10 * TIMES + 1}


def test_before_anything_was_seen_the_estimate_counts_and_loading_may_take_longest() -> None:
    silences = Silences(LIMIT_S)
    duties = {"a": scoring(30.0), "b": Duty("m, loading", "m", LOADING, 30.0), "c": Duty("n", "n", LOADING)}
    silences.hear(duties, {}, 0.0)
    assert silences.too_long(30 * TIMES) == {"c": 30 * TIMES}
    assert silences.too_long(30 * TIMES + 1).keys() == {"a", "b", "c"}
    assert Silences(LIMIT_S).too_long(1e9) == {}
    silences.hear({"c": duties["c"]}, {"c": Beat(1, LOADING)}, 0.0)
    assert silences.too_long(LOADING_TIMES * LIMIT_S) == {}


def test_one_long_step_does_not_have_a_process_hang_for_days() -> None:
    """Ten minutes of silence, once, and a process could hang for more than three hours."""
    silences, duty = Silences(LIMIT_S), scoring()
    silences.hear({"a": duty}, {"a": Beat(2, WORKING, {WORKING: 3000.0})}, 0.0)
    assert silences.too_long(MOST_S) == {}
    assert silences.too_long(MOST_S + 1) == {"a": MOST_S + 1}
    silences.hear({"a": duty}, {"a": Beat(3, WORKING, {WORKING: MOST_S})}, 0.0)
    assert silences.too_long(LEAST_TIMES * MOST_S) == {}
    assert silences.too_long(LEAST_TIMES * MOST_S + 1) == {"a": LEAST_TIMES * MOST_S + 1}


def test_other_work_begins_anew_and_what_is_idle_is_never_silent() -> None:
    silences, said = Silences(LIMIT_S), {"a": Beat(7, WORKING)}
    silences.hear({"a": scoring()}, said, 0.0)
    silences.hear({}, said, 50.0)
    silences.hear({"a": scoring()}, said, 1000.0)
    assert (silences.too_long(1060.0), silences.spoke("a")) == ({}, False)
    silences.hear({"a": scoring()}, said, 1050.0)  # equal, and yet another batch
    assert silences.too_long(1100.0) == {}


def test_a_process_that_begins_anew_with_its_count_has_spoken() -> None:
    """Ray starts an actor again under its id."""
    silences, duty = Silences(LIMIT_S), scoring()
    silences.hear({"a": duty}, {"a": Beat(7, WORKING)}, 0.0)
    silences.hear({"a": duty}, {"a": Beat(1, WORKING)}, 59.0)
    assert (silences.too_long(100.0), silences.spoke("a")) == ({}, True)


def test_a_time_in_which_nobody_could_be_heard_does_not_count() -> None:
    silences, duty = Silences(LIMIT_S), scoring()
    silences.hear({"a": duty}, {"a": Beat(1, WORKING)}, 0.0)
    silences.forgive(500.0)
    assert silences.too_long(560.0) == {}
    assert silences.too_long(561.0) == {"a": 61.0}


def test_a_watcher_that_was_stopped_itself_does_not_count_that_time() -> None:
    now = 0.0
    awake = Awake(lambda: now)
    now = 30.0
    assert awake() == 30.0
    now = 5000.0
    assert awake() == 30.0 + CAP_S


def test_one_question_without_an_answer_is_silence_and_many_that_are_answered_are_not() -> None:
    now = 0.0
    unanswered = Unanswered(lambda: now)
    for second in range(100):
        now = float(second)
        assert unanswered.look((now, None)) == 0.0
    for second in range(100):
        now = 100.0 + second
        assert unanswered.look((None, 100.0, now)) == second
    assert unanswered.look((None, None)) == 0.0


def test_what_work_loads_first_takes_no_step_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.pulse._listeners", [])
    now, said = [0.0], list[bytes]()
    own = Pulse(said.append, lambda: now[0])
    own.begin(WORKING)
    pulse.listen(own)
    with loading():
        now[0] = 1000.0
    now[0] = 1001.0
    pulse.beat()
    assert json.loads(said[1])[1] == LOADING
    assert json.loads(said[-1])[1:3] == [WORKING, {LOADING: 1000.0, WORKING: 1.0}]


def test_how_far_work_has_come_is_said_with_its_steps_and_is_of_that_work_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("study.pulse._listeners", [])
    now, said, silences = [0.0], list[bytes](), Silences(LIMIT_S)
    own = Pulse(said.append, lambda: now[0])
    pulse.listen(own)

    def hear(duty: Duty) -> tuple[Reached, float] | None:
        silences.hear({"a": duty}, {"a": Beat.of(*json.loads(said[-1]))}, now[0])
        return silences.reached("a", duty, now[0])

    first, second = Duty("a gang", "m", LOADING), Duty("another", "m", LOADING)
    own.begin(LOADING)
    assert hear(first) is None
    now[0] = 10.0
    pulse.beat(WORKING, Reached(1.5, 8.0))
    assert hear(first) == (Reached(1.5, 8.0), 0.0)
    now[0] = 13.0
    pulse.beat(WORKING)
    assert hear(first) == (Reached(1.5, 8.0), 3.0)
    assert silences.reached("a", second, now[0]) is None  # before anybody has looked
    assert hear(second) is None
    own.begin(LOADING)
    assert hear(second) is None
    pulse.beat(WORKING, Reached(0.5, 2.0))
    silences.hear({}, {}, now[0])  # it was given nothing for a moment
    assert hear(first) is None
    pulse.beat(WORKING, Reached(0.6, 2.5))
    now[0] = 15.0
    pulse.beat(WORKING)
    assert hear(first) == (Reached(0.6, 2.5), 0.0)


def test_only_a_clock_that_was_set_back_is_told_and_once() -> None:
    moment = {"day": 1000.0, "clock": 10.0}
    clock = SetBack(lambda: moment["day"], lambda: moment["clock"])
    for day, passes, told in ((5, 5, 0), (3600, 5, 0), (-7200 + 5, 5, 7200), (5, 5, 0), (-1, 5, 0), (9000, 0, 0)):
        moment["day"] += day
        moment["clock"] += passes
        assert clock.look() == told
