"""A trial over two nodes of a real cluster, one of which is killed in the midst of training."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.util import placement_group, remove_placement_group

from orchestrator.training.checkpoints import CHECKPOINTS
from orchestrator.training.context import TrialContext
from orchestrator.training.outcome import GangEnded
from orchestrator.training.trial import GangTrainer
from orchestrator.training.workers import WorkerGroup
from study.config import Training
from tests.faults.cluster import Nodes
from tests.support.tiny_models import make_model
from tests.support.tiny_world import make_tasks
from tests.support.trials import (
    LANGUAGES,
    TASKS,
    assert_equal,
    context_of,
    farthest,
    study,
    trained,
    until,
)

TRAINING = {"workers_per_trial": 2, "resources_per_worker": {"CPU": 1}}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Two nodes for a worker each, and a head for none."""
    nodes = Nodes(head_cpus=0)
    ray.init(nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.stop()


def two_workers(folder: Path) -> TrialContext:
    folder.mkdir()
    world = make_model(folder / "tiny", spread=0.2), make_tasks(folder / "tasks", TASKS, LANGUAGES)
    return context_of(study(world, folder, training=TRAINING)[1])


@pytest.fixture
def group(nodes: Nodes) -> Iterator[WorkerGroup]:
    """Workers in a placement group like the one that Tune gives a trial, whose nodes have outlived their first seconds.

    A raylet ends itself where its agents are not there within 15 s, as on a busy machine.
    """
    places = placement_group([{"CPU": 1}] * 2, "PACK")
    for _ in range(10):
        if places.wait(30):
            break
        nodes.replace_lost()
    group = WorkerGroup(places, Training.model_validate(TRAINING))
    yield group
    group.stop()
    remove_placement_group(places)


def nodes_of(group: WorkerGroup) -> list[str]:
    """Where each worker runs."""
    where = lambda _: ray.get_runtime_context().get_node_id()  # noqa: E731
    return list(ray.get([worker.__ray_call__.remote(where) for worker in group.workers]))


def test_a_killed_node_costs_an_epoch_and_no_result(nodes: Nodes, tmp_path: Path, group: WorkerGroup) -> None:
    """Nothing goes on before another node joins; then all does, from the last epoch that ended before the loss."""
    undisturbed = two_workers(tmp_path / "undisturbed")
    assert len(trained(GangTrainer(undisturbed, group), undisturbed).trained) == 4
    context = two_workers(tmp_path / "disturbed")
    [lost, kept] = nodes_of(group)
    assert lost != kept
    outcomes: list[GangEnded] = []
    running = threading.Thread(target=lambda: outcomes.append(trained(GangTrainer(context, group), context)))
    running.start()
    until(lambda: farthest(context.store) > 0, running.is_alive)
    reached = farthest(context.store)
    nodes.kill_node(lambda found: next(node for node in found if node.node_id == lost))
    nodes.add()
    running.join(300)
    assert [(len(outcome.trained), outcome.failed) for outcome in outcomes] == [(4, ())]
    assert lost not in nodes_of(group)
    assert_equal(context.store, undisturbed.store, exactly=False)
    for record in context.store.records().values():
        [resumed_at] = record.conditions.resumed_at_steps
        assert reached <= resumed_at < record.course.steps
    assert context.store.files(CHECKPOINTS, "") == []
