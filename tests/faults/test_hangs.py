"""Processes that are stopped, in each state that they can be in, and a store that freezes: the study ends whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from study.store.store import Store
from tests.faults.cluster import Nodes, title
from tests.faults.disk import FreezingDisk
from tests.faults.driven import Driver, tables
from tests.faults.test_faults import EVALUATORS, HUNG, bucket, compare, nodes, study, undisturbed, world
from tests.support.rows import done_scores

__all__ = ["bucket", "nodes", "undisturbed", "world"]

pytestmark = pytest.mark.long

SEVERAL: dict[str, object] = {"evaluators": {**EVALUATORS, "min": 2}}
STATES: dict[str, tuple[str, Callable[[Store], object], dict[str, object]]] = {  # whom to stop, and when
    "an evaluator that loads": ("evaluator", lambda store: True, {}),
    "one of several evaluators that score": ("evaluator", done_scores, SEVERAL),
    "the only evaluator, which scores": ("evaluator", done_scores, {"evaluators": {**EVALUATORS, "max": 1}}),
    "a worker that trains": ("trainer", lambda store: store.files("checkpoints", ""), {}),
    "a trial that watches": ("trial", lambda store: store.files("checkpoints", ""), {}),
}

WRITING = {  # who writes, and after which file it is made to wait in its next
    "an evaluator that writes scores": ("evaluator", "results", ".parquet"),
    "a worker that writes an adapter": ("trainer", "adapters", "adapter_config.json"),
    "a worker that writes a record": ("trainer", "adapters", "adapter_model.safetensors"),
}


@pytest.mark.parametrize("state", STATES)
def test_what_is_stopped_is_looked_at_and_killed_and_done_by_another(
    state: str, world: tuple[Path, Path, Path], nodes: Nodes, undisturbed: Store
) -> None:
    kind, when, more = STATES[state]
    config, store = study(world, state.replace(" ", "-").replace(",", ""), failures=HUNG, **more)
    with Driver(config, nodes.address) as driver:
        victim = None
        while victim is None:
            driver.until(lambda: when(store) and len(present(nodes, kind, state)) > (more is SEVERAL))
            victim = stopped(present(nodes, kind, state), state)
        assert driver.wait() == 0, driver.output
    assert_ended_as_hung(victim, kind, driver, store)
    if more is SEVERAL:  # which share the work in batches of their own
        tables(store)  # all that was asked for is there, and what is there twice says the same
    else:
        compare(store, undisturbed)


def present(nodes: Nodes, kind: str, state: str) -> list[psutil.Process]:
    """Processes of a kind; those that load, which a study may end without, only where the state is that."""
    return [p for p in nodes.processes(kind) if "loads" in state or not title(p).split("\0")[0].endswith(".load")]


def stopped(found: list[psutil.Process], state: str) -> psutil.Process | None:
    """One of them, stopped: one that has scores in hand, where the state is that; one that has nothing may end so."""
    for process in found:
        process.suspend()
        if not state.endswith(("score", "scores")) or title(process).split("\0")[0].endswith(".score"):
            return process
        process.resume()
    return None


@pytest.mark.parametrize("state", WRITING)
def test_what_is_stopped_in_the_midst_of_a_write_leaves_nothing_by_halves(
    state: str, world: tuple[Path, Path, Path], nodes: Nodes, undisturbed: Store
) -> None:
    kind, folder, ending = WRITING[state]
    name = state.replace(" ", "-")
    with FreezingDisk(world[0] / f"{name}-disk") as disk:
        patient = {**HUNG, "hung_after_s": 60}  # half of it is what a driver waits for a disk
        config, store = study(world, name, str(disk.where / "store"), failures=patient)
        with Driver(config, nodes.address) as driver:
            driver.until(lambda: store.files(folder, ending, recursive=True))
            with disk.frozen():  # so that what is written next waits
                driver.until(lambda: waiting(nodes.processes(kind)))
                (victim, *_) = waiting(nodes.processes(kind))
                victim.suspend()
            driver.until(lambda: victim.status() == psutil.STATUS_STOPPED)
            assert driver.wait() == 0, driver.output
        assert_ended_as_hung(victim, kind, driver, store, b"_replace (")  # the function that writes files
        compare(store, undisturbed)


def waiting(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of which a thread waits for the disk, whenever one looks."""
    found = processes
    for _ in range(5):
        found = [process for process in found if _waits(process.pid)]
        time.sleep(0.05 if found else 0.0)
    return found


def _waits(pid: int) -> bool:
    for file in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            if file.read_text().rpartition(")")[2].split()[0] == "D":
                return True
    return False


def assert_ended_as_hung(
    victim: psutil.Process, kind: str, driver: Driver, store: Store, stood_in: bytes = b""
) -> None:
    """Also that one of the files that are left of it says so, and where it stood."""
    assert not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE
    assert "no sign of life for" in driver.output or kind == "trainer"  # which its trial has seen
    left = [store.read(file) for file in store.files("logs/hung", ".txt")]
    assert any(b"T (stopped)" in text and stood_in in text for text in left), left


def test_a_store_that_freezes_ends_the_run_with_a_word_and_costs_what_was_in_hand(
    world: tuple[Path, Path, Path], nodes: Nodes, undisturbed: Store
) -> None:
    with FreezingDisk(world[0] / "frozen-disk") as disk:
        config, store = study(world, "frozen", str(disk.where / "store"), failures=HUNG)
        with Driver(config, nodes.address) as driver:
            driver.until(lambda: done_scores(store))
            with disk.frozen():  # a process that waits for such a disk cannot end
                driver.until(lambda: f"error: the store {store.uri} has not answered for" in driver.output)
            assert driver.wait() == 1
            assert "Traceback" not in driver.output
            assert "the store has not answered for 0:00:" in driver.output
        nodes.settle()
        with Driver(config, nodes.address) as driver:
            assert driver.wait() == 0, driver.output
        compare(store, undisturbed)
