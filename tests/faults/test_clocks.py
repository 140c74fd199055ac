"""The clock of the day is set by hours, on all nodes, in the midst of a study: nothing of ours goes by it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from study.store.store import Store
from tests.faults.cluster import Nodes
from tests.faults.driven import Driver
from tests.faults.test_faults import bucket, compare, study, undisturbed, world
from tests.support.clock import Clock
from tests.support.forks import graft

__all__ = ["bucket", "undisturbed", "world"]

pytestmark = pytest.mark.long

HOURS_S = 5 * 3600


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clock]:
    """By which all goes that is started from now on: forks of a stem of their own, too."""
    clock = Clock(tmp_path_factory.mktemp("clock"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clock.environment.items():
            patch.setenv(name, value)
        patch.setenv(graft.STEM, "")
        patch.delenv(graft.STEM)
        yield clock


@pytest.fixture(scope="module")
def nodes(clock: Clock) -> Iterator[Nodes]:
    nodes = Nodes()
    yield nodes
    nodes.stop()


@pytest.fixture
def anew(clock: Clock, nodes: Nodes) -> Iterator[None]:
    """The clock is right again when a test has ended, and Ray begins by it: it waits by that clock itself."""
    yield
    clock.set_ahead(0)
    nodes.kill_head()
    nodes.restore()


def begun(store: Store) -> object:
    return store.files("checkpoints", "") or store.records()


@pytest.mark.usefixtures("anew")
def test_a_clock_that_is_set_forward_in_the_midst_of_a_study_changes_nothing(
    clock: Clock, world: tuple[Path, Path, Path], nodes: Nodes, undisturbed: Store
) -> None:
    config, store = study(world, "forward")
    with Driver(config, nodes.address) as driver:
        driver.until(lambda: begun(store))
        clock.set_ahead(HOURS_S)
        assert driver.wait() == 0, driver.output
    nodes.settle()
    compare(store, undisturbed)
    assert "no sign of life" not in driver.output
    scores = pl.DataFrame(pl.from_arrow(store.scores()))
    last = max(scores["written_at"].to_list())
    assert (last - datetime.now(UTC)).total_seconds() > HOURS_S / 2, "the clock was not set"
    took = [*scores["seconds"], *(record.course.seconds for record in store.records().values())]
    assert all(0 <= seconds < HOURS_S / 2 for seconds in took), took


@pytest.mark.usefixtures("anew")
def test_a_clock_that_is_set_back_is_told_and_costs_a_start_of_ray_at_most(
    clock: Clock, world: tuple[Path, Path, Path], nodes: Nodes, undisturbed: Store
) -> None:
    """Ray's timers are of the time of the day: it gives no places away until that is as late again."""
    config, store = study(world, "back")
    with Driver(config, nodes.address) as driver:
        driver.until(lambda: begun(store))
        clock.set_ahead(-HOURS_S)
        driver.until(lambda: "this machine's clock was set back by " in driver.output)
        driver.signal(signal.SIGINT)
        assert driver.wait() == 130, driver.output
    nodes.kill_head()
    nodes.restore()
    with Driver(config, nodes.address) as driver:
        assert driver.wait() == 0, driver.output
    nodes.settle()
    compare(store, undisturbed)
