"""Processes that are stopped, in each state that they can be in, and a store that freezes: the study ends whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from study.store.store import Store
from tests.faults.cluster import Nodes
from tests.faults.disk import FreezingDisk
from tests.faults.driven import Driver, tables
from tests.faults.test_faults import HUNG, bucket, compare, nodes, study, undisturbed, world
from tests.support.rows import done_scores

__all__ = ["bucket", "nodes", "undisturbed", "world"]

pytestmark = pytest.mark.long

STATES: dict[str, tuple[str, Callable[[Store], object], dict[str, object]]] = {  # whom to stop, and when
    "an evaluator that loads": ("evaluator", lambda store: True, {}),
    "one of several evaluators that score": ("evaluator", done_scores, {"sources": []}),
    "the only evaluator, which scores": ("evaluator", done_scores, {"evaluators": {"resources": {"CPU": 1}, "max": 1}}),
    "a worker that trains": ("trainer", lambda store: store.files("checkpoints", ""), {}),
    "a trial that watches": ("trial", lambda store: store.files("checkpoints", ""), {}),
}


@pytest.mark.parametrize("state", STATES)
def test_what_is_stopped_is_looked_at_and_killed_and_done_by_another(
    state: str, world: tuple[Path, Path, Path], nodes: Nodes, undisturbed: Store
) -> None:
    kind, when, more = STATES[state]
    config, store = study(world, state.replace(" ", "-").replace(",", ""), failures=HUNG, **more)
    with Driver(config, nodes.address) as driver:
        driver.until(lambda: when(store) and nodes.processes(kind))
        victim = nodes.processes(kind)[0]
        victim.suspend()
        assert driver.wait() == 0, driver.output
    assert not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE
    assert "no sign of life for" in driver.output or kind == "trainer"  # which its trial has seen
    assert any(b"T (stopped)" in store.read(file) for file in store.files("logs/hung", ".txt"))
    if "sources" in more:
        tables(store)  # all that was asked for is there, and what is there twice says the same
    else:
        compare(store, undisturbed)


def test_a_store_that_freezes_ends_the_run_with_a_word_and_costs_what_was_in_hand(
    world: tuple[Path, Path, Path], nodes: Nodes, undisturbed: Store
) -> None:
    with FreezingDisk(world[0] / "frozen-disk") as disk:
        config, store = study(world, "frozen", str(disk.where / "store"), failures=HUNG)
        with Driver(config, nodes.address) as driver:
            driver.until(lambda: done_scores(store))
            disk.freeze()
            driver.until(lambda: f"error: the store {store.uri} has not answered for" in driver.output)
            disk.thaw()  # a process that waits for such a disk cannot end
            assert driver.wait() == 1
            assert "Traceback" not in driver.output
            assert "the store has not answered for 0:00:" in driver.output
        nodes.settle()
        with Driver(config, nodes.address) as driver:
            assert driver.wait() == 0, driver.output
        compare(store, undisturbed)
