"""A trial that fits on one node only, and evaluators that lie across its way there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from study.store.store import Store
from tests.faults.cluster import Nodes
from tests.faults.driven import Driver
from tests.faults.test_faults import EVALUATORS, compare, study, world

__all__ = ["world"]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head with two CPUs, and two nodes with one each."""
    nodes = Nodes(head_cpus=2)
    yield nodes
    nodes.stop()


def test_kept_evaluators_give_way_where_only_their_node_can_hold_a_trial(
    nodes: Nodes, world: tuple[Path, Path, Path]
) -> None:
    """By the numbers both fit beside the trial, on the other nodes; Ray puts them on the head, where the driver is."""
    stores: list[Store] = []
    for name, kept in (("free", 0), ("kept", 2)):
        config, store = study(
            world,
            name,
            training={"resources_per_worker": {"CPU": 2}},
            evaluators={**EVALUATORS, "min": kept},
        )
        with Driver(config, nodes.address) as driver:
            if kept:
                driver.until(lambda: nodes.processes("evaluator", nodes.head))  # the way is barred
            assert driver.wait() == 0, driver.output
        stores.append(store)
    compare(stores[1], stores[0])
