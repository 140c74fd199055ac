"""Starts of evaluators: what fails together counts once, waits get longer, and a success forgets it all."""

from __future__ import annotations

from orchestrator.scheduling.starts import Starts


def test_starts_under_way_at_the_same_time_are_one_failure() -> None:
    starts = Starts()
    assert starts.may("m", 0.0)
    assert starts.failed("m", "transient", began=0.0, now=10.0) == 1
    assert [starts.failed("m", "transient", began=0.5, now=10.0 + i) for i in range(7)] == [0] * 7
    assert starts.failed("m", "node_lost", began=12.0, now=13.0) == 1  # another kind has its own count
    assert starts.failed("m", "transient", began=14.0, now=15.0) == 2


def test_the_next_start_waits_longer_each_time() -> None:
    starts = Starts()
    for wait in (1.0, 2.0, 4.0):
        starts.failed("m", "transient", began=100.0 * wait, now=100.0 * wait)
        assert not starts.may("m", 100.0 * wait + wait - 0.1)
        assert starts.may("m", 100.0 * wait + wait)
    assert starts.may("other", 0.0)
    starts.succeeded("m")
    assert starts.may("m", 0.0)
    assert starts.failed("m", "transient", began=0.0, now=0.0) == 1
