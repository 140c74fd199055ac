"""Errands into a store that does not answer: whoever sends them goes on, and is told of what became of them."""

from __future__ import annotations

import threading
import time

import pytest

from orchestrator.progress.errands import Errands


def test_a_store_that_does_not_answer_stops_nobody_and_nothing_is_lost_or_swapped() -> None:
    errands, frozen, told, before = Errands(), threading.Event(), list[int](), time.monotonic()
    errands.send(lambda: frozen.wait() and 0, told.append)
    errands.send(lambda: 1, told.append)
    errands.finish(0.2)
    assert (told, errands.pending) == ([], 2)
    asked = errands.asked
    assert asked is not None
    assert before <= asked <= time.monotonic()
    frozen.set()
    errands.finish(30)
    assert (told, errands.pending, errands.asked) == ([0, 1], 0, None)
    errands.close()


def test_what_an_errand_raises_is_raised_where_it_is_collected_and_those_after_it_are_run() -> None:
    others = set(threading.enumerate())
    errands, told = Errands(), list[int]()
    errands.send(lambda: 1 // 0)
    errands.send(lambda: 2, told.append)
    errands.send(lambda: [][1])
    with pytest.raises(ZeroDivisionError):
        errands.finish(30)
    assert (told, errands.pending) == ([2], 0)
    errands.close()
    (mine,) = {one for one in threading.enumerate() if one.name == "errands"} - others
    mine.join(30)
    assert not mine.is_alive()
