"""What a run says of itself."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from orchestrator.costs.pace import UnderWay
from orchestrator.progress.display import Display
from orchestrator.progress.meter import Meter
from orchestrator.progress.numbers import Progress
from orchestrator.progress.tables import PlainConsole
from study.store.records import FailureRecord

SCORES = "score", "m"


def progress() -> Progress:
    left = Counter({("train", "a"): 8, ("score", "a"): 100, ("score", "b"): 10})
    seconds = {("train", "a"): 80.0, ("score", "a"): 100.0, ("score", "b"): 50.0}
    return Progress({"train": 10, "score": 110}, {"train": 2, "score": 0}, left, seconds)


def test_the_time_left_goes_by_the_work_left_and_the_speeds_measured() -> None:
    run = progress()
    assert run.eta_s() is None
    assert run.left() == "waiting for devices"
    run.hold(1, 1)
    assert run.left() == "about 0:03:50 left, as planned"
    run.hold(1, 1, soon=2)  # as soon as there are as many as are to be
    assert run.eta_s() == pytest.approx((80 + 100 + 50) / 2)
    run.finished("train", "a", tokens=50, estimated_s=10, actual_s=20)  # training takes twice the estimate
    run.hold(2, 2, soon=2)
    assert run.eta_s() == pytest.approx((70 * 2 + 100 * 2 + 50 * 2) / 2)  # so does, for all we know, scoring
    assert run.left().endswith(" left (2 times as planned)")
    run.finished("score", "a", tokens=10, estimated_s=5, actual_s=2.5)  # which turns out to be faster
    assert run.eta_s() == pytest.approx((70 * 2 + 95 * 0.5 + 50 * 0.5) / 2)
    run.lost("score", "b", "nan", 10, 50)
    assert run.eta_s() == pytest.approx((70 * 2 + 95 * 0.5) / 2)
    assert run.left() == "about 0:01:33 left"
    assert "adapters 3/10 · scores 1/110 · failed 10" in run.line()
    assert run.count("score") == {"done": 1, "of": 110, "this run": 1, "failed": 10, "left": 99}


def test_what_passes_around_units_is_waited_for_too_and_is_no_part_of_what_they_took() -> None:
    run = progress()
    run.finished("score", "a", 10, estimated_s=10, actual_s=5, around=4.0)
    run.hold(1, 1)
    assert run.eta_s() == (80 + 90 + 50) * 2
    assert run.pace("score", "a") == 0.5  # how much goes out at once: less would be more often around
    assert run.actual_s == {("score", "a"): 5}


def test_what_is_under_way_is_part_of_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    run = progress()
    run.tokens_each_s = {("train", "a"): 1000.0}
    assert "loading · " in run.line()
    for second in range(0, 200, 5):  # nothing has ended, for minutes
        now = float(second)
        run.hold(1, 1, [UnderWay("train", "a", 80.0, second / 400, float(second))])
    assert run.tokens_per_s == pytest.approx(80_000 / 400)
    assert "200 tokens/s · " in run.line()


def test_a_first_batch_that_takes_long_is_not_as_planned_and_no_token_of_it_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    run = Progress({"train": 0, "score": 10}, {"train": 0, "score": 0}, Counter({SCORES: 10}), {SCORES: 100.0})
    run.tokens_each_s = {SCORES: 1000.0}
    left = []
    for since in (0.0, 5.0, 600.0, 6000.0):
        now = since
        run.hold(1, 1, [UnderWay(*SCORES, 10.0, since_s=since)])
        assert run.numbers()["tokens_per_s"] == 0
        assert "failed 0 · about " in run.line()
        left.append(run.left())
    assert left[1] == "about 0:01:35 left, as planned"
    assert left[2:] == ["about 0:45:00 left (30 times as planned)", "about 7:30:00 left (300 times as planned)"]
    run.finished(*SCORES, tokens=10_000, estimated_s=10, actual_s=6000)
    now += 5
    run.hold(1, 1, [UnderWay(*SCORES, 10.0, since_s=5.0)])
    assert "tokens/s" in run.line()


def test_the_devices_at_work_are_those_of_the_last_minute() -> None:
    meter = Meter()
    assert meter.mean() == 0
    meter.set(100, 4)
    assert meter.mean() == 4
    for second in range(101, 160):
        meter.set(second, 4 if second % 2 else 3)  # who has just finished has nothing in hand for a moment
    assert meter.mean() == pytest.approx(3.5, abs=0.05)
    meter.set(200, 1)
    meter.set(230, 1)
    assert meter.mean() == pytest.approx((4 * 30 + 1 * 30) / 60)
    meter.set(10_000, 0)
    assert meter.mean() == 1
    assert meter.device_s == pytest.approx(4 * 30 + 3 * 29 + 4 * 41 + 9_800, abs=1)


def test_what_failed_in_earlier_runs_is_not_done() -> None:
    run = Progress({"train": 10, "score": 110}, {"train": 2, "score": 0}, Counter({("train", "a"): 5}), {})
    run.kept_failed = {"train": 3}
    run.lost("train", "a", "nan", 1, 0.0)
    assert run.count("train") == {"done": 2, "of": 10, "this run": 0, "failed": 4, "left": 4}
    assert "failed 4" in run.line()


def test_the_estimate_is_set_against_what_it_took() -> None:
    run = progress()
    run.finished("train", "a", 50, estimated_s=90, actual_s=60)
    run.finished("score", "a", 50, estimated_s=30, actual_s=60)
    run.held.device_s = 150
    assert run.verdict() == (
        "device time: adapters 0:01:30 estimated, 0:01:00 taken (+50%) · scores 0:00:30 estimated, 0:01:00 taken (-50%)"
        " · together 0:02:00 estimated, 0:02:00 taken (+0%) · held 0:02:30"
    )


def test_a_pipe_gets_few_plain_lines_and_every_failure() -> None:
    out = io.StringIO()
    with Display(progress(), PlainConsole(80, out)) as display:
        for _ in range(50):
            display.update()
        display.failure(FailureRecord("id", "a/arc/[en]/17", "nan", "loss is nan", 1))
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[1] == "FAILED a/arc/[en]/17: nan: loss is nan"
    assert "\x1b" not in out.getvalue()


def test_a_terminal_gets_one_table() -> None:
    out = io.StringIO()
    run = progress()
    run.evaluators["a"] = 3
    with Display(run, Console(file=out, width=120, force_terminal=True)) as display:
        display.update()
    assert "evaluators: a 3" in out.getvalue()
    assert "loading · waiting for devices" in out.getvalue()
