"""The machine's scratch, where Ray and Tune keep what they work with, fills up in the midst of a study."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from study.store.store import Store
from tests.faults.cluster import Nodes
from tests.faults.disk import Disk
from tests.faults.driven import Driver
from tests.faults.test_faults import ALONE, bucket, compare, nodes, study, world
from tests.faults.test_faults import undisturbed_alone as undisturbed

__all__ = ["bucket", "nodes", "undisturbed", "world"]

pytestmark = pytest.mark.long


def test_a_full_scratch_ends_the_run_with_a_word_and_costs_what_was_in_hand(
    world: tuple[Path, Path, Path], nodes: Nodes, undisturbed: Store
) -> None:
    """The driver starts a cluster of its own there; the next run goes on elsewhere, on the other cluster."""
    config, store = study(world, "scratch", training=ALONE)
    with (
        tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as short,  # as sockets need paths to be
        Disk(Path(short) / "s", size_mb=600) as disk,
        Driver(config, "local", RAY_TMPDIR=str(disk.where), TMPDIR=str(disk.where)) as driver,
    ):
        driver.until(lambda: store.files("checkpoints", "") or store.records())
        disk.fill()
        assert driver.wait() == 1, driver.output
        assert "No space left on device" in driver.output
        assert "Traceback" not in driver.output
    with Driver(config, nodes.address) as driver:
        assert driver.wait() == 0, driver.output
    compare(store, undisturbed)
