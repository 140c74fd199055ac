"""A cluster that is smaller than a study would like, and changes under it; and what Prometheus sees of the studies."""

from __future__ import annotations

from pathlib import Path

import pytest
from psutil import Process

from orchestrator.scheduling.blame import MOST_LOSSES
from study.store.nodes import excluded
from study.store.store import Store
from tests.faults.cluster import Nodes
from tests.faults.driven import Driver
from tests.faults.test_faults import ALONE, EVALUATORS, RECIPE, bucket, compare, nodes, study, world
from tests.faults.test_faults import undisturbed_alone as undisturbed
from tests.support.rows import done_scores

__all__ = ["bucket", "nodes", "undisturbed", "world"]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def small(nodes: Nodes, undisturbed: Store) -> Nodes:
    """The cluster without all nodes but the head, which has one CPU."""
    for _ in range(2):
        nodes.kill_node(lambda others: others[0])
    return nodes


def test_an_evaluator_that_is_kept_gives_way_to_training_and_prometheus_reads_what_came_of_it(
    small: Nodes, world: tuple[Path, Path, Path], undisturbed: Store
) -> None:
    """The only CPU goes from the base's evaluator to a trial, whose adapter is rejected."""
    one = {"sources": ["next/xx"], "targets": ["next/xx"], "evaluators": {**EVALUATORS, "min": 1}}
    alone = {"compose": [], "texts": [], "recipe": {**RECIPE, "keep_near_base": {"kl": 0.0}}}
    config, _ = study(world, "failing", study="failing", **one, **alone)
    options = ["--set", "recipe.learning_rate=1e30", "--set", "recipe.max_grad_norm=null"]
    with Driver(config, small.address, *options) as driver:
        assert driver.wait() == 1, driver.output
    lines = small.metrics().splitlines()

    def seen(name: str, *tags: str) -> float:
        mine = [
            line for line in lines if line.startswith(f"ray_crosscells_{name}{{") and all(tag in line for tag in tags)
        ]
        return sum(float(line.rpartition(" ")[2]) for line in mine)

    assert seen("adapters_trained_total", 'study="tiny"', 'model="tiny"') == len(undisturbed.records())
    assert seen("scores_total", 'study="tiny"', 'model="tiny"') == len(done_scores(undisturbed))
    assert seen("scores_total", 'study="failing"', 'model="tiny"') == 1  # the base's
    assert seen("units_failed_total", 'study="failing"', 'model="tiny"', 'kind="nan"') == 2  # the adapter and its score


def test_a_node_that_joins_trains_and_scores_and_one_that_leaves_costs_what_it_had_in_hand(
    small: Nodes, world: tuple[Path, Path, Path], undisturbed: Store
) -> None:
    """The only evaluator of the first node is frozen: what is done meanwhile is done by the node that has joined."""
    config, store = study(world, "elastic", training=ALONE, evaluators={**EVALUATORS, "min": 2})
    with Driver(config, small.address) as driver:
        driver.until(lambda: small.processes("evaluator"))
        frozen = small.processes("evaluator")[0]
        frozen.suspend()
        joined = small.add()
        driver.until(lambda: small.processes("trainer", joined))
        driver.until(lambda: len(store.records()) == len(undisturbed.records()))
        assert not done_scores(store)
        driver.until(lambda: small.processes("evaluator", joined))
        driver.until(lambda: done_scores(store))
        small.kill_node(lambda _: joined)
        frozen.resume()
        assert driver.wait() == 0, driver.output
    compare(store, undisturbed)


def test_a_trial_leaves_a_node_that_keeps_losing_its_worker_and_goes_on_elsewhere(
    small: Nodes, world: tuple[Path, Path, Path], undisturbed: Store
) -> None:
    joined = small.add()
    config, store = study(world, "excluded", training=ALONE)
    killed: set[int] = set()

    def another() -> list[Process]:
        return [process for process in small.processes("trainer", joined) if process.pid not in killed]

    with Driver(config, small.address) as driver:
        for _ in range(MOST_LOSSES):
            driver.until(another)
            victim = another()[0]
            killed.add(victim.pid)
            victim.kill()
        driver.until(lambda: excluded(store))
        assert excluded(store) == [joined.node_id]
        assert driver.wait() == 0, driver.output
    assert another() == []
    assert "it is used no more" in driver.output
    compare(store, undisturbed)
