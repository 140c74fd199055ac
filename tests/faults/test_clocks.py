"""The clock of the day is set by hours, on all nodes and in the driver, in the midst of a study: nothing goes by it."""

from __future__ import annotations

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
from tests.support.rows import done_scores

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


@pytest.mark.parametrize("ahead_s", [HOURS_S, -HOURS_S], ids=["forwards", "backwards"])
def test_a_clock_that_is_set_in_the_midst_of_a_study_changes_nothing(
    clock: Clock, ahead_s: int, world: tuple[Path, Path, Path], nodes: Nodes, undisturbed: Store
) -> None:
    config, store = study(world, f"clock{ahead_s}")
    try:
        with Driver(config, nodes.address) as driver:
            driver.until(lambda: store.files("checkpoints", "") or store.records())
            clock.set_ahead(ahead_s)
            driver.until(lambda: done_scores(store))
            assert driver.wait() == 0, driver.output
    finally:
        clock.set_ahead(0)
    nodes.settle()
    compare(store, undisturbed)
    assert "no sign of life" not in driver.output
    scores = pl.DataFrame(pl.from_arrow(store.scores()))
    moved = (scores["written_at"] - datetime.now(UTC)).dt.total_seconds() / ahead_s
    assert moved.max() > 0.9, "the clock was not set"
    took = [*scores["seconds"], *(record.course.seconds for record in store.records().values())]
    assert all(0 <= seconds < HOURS_S / 2 for seconds in took), took
