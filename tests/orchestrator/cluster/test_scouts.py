"""A cluster without any node to work on: the study asks for some, and uses those that come."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster.scouts import Places, Scouts
from orchestrator.scheduling.decide import MOST_SCOUTS, Decision, Demand, Resources, Shape, Unmet, Work, unmet
from orchestrator.scheduling.waits import Waits
from study.store.store import Store
from tests.support.forks.graft import command
from tests.support.local import head, node
from tests.support.rows import done_scores
from tests.support.tiny_models import make_model
from tests.support.tiny_world import REPOSITORY, make_config, make_tasks


def test_what_is_asked_for_is_what_would_start() -> None:
    nothing = Decision(0, 0, {})
    little = Work(seconds=10.0, units=4, base=True, actors=0, load_s=30.0)
    much = Work(seconds=10_000.0, units=4_000, base=False, actors=0, load_s=30.0)
    assert unmet(nothing, Demand(0, 0, 0.0, {})) == Unmet(0, 0)
    assert unmet(nothing, Demand(5, 0, 60.0, {"a": little})) == Unmet(5, 1)
    assert unmet(Decision(3, 0, {}), Demand(2, 3, 60.0, {})) == Unmet(2, 0)
    assert unmet(nothing, Demand(10_000, 0, 60.0, {"a": much})) == Unmet(MOST_SCOUTS, MOST_SCOUTS)
    assert unmet(Decision(0, 3, {"a": 3}), Demand(0, 0, 0.0, {"a": much}), most=4) == Unmet(0, 1)


class Full(Places):
    """A cluster on which nothing finds a place: numbers stand for placement groups."""

    def __init__(self) -> None:
        self.made: list[tuple[Sequence[Resources], Mapping[str, str]]] = []
        self.removed: list[int] = []

    def ask(self, bundles: Sequence[Resources], name: str, where: Mapping[str, str]) -> Any:
        self.made.append((bundles, where))
        return len(self.made) - 1

    def waits(self, group: Any) -> bool:
        return True

    def remove(self, group: Any) -> None:
        self.removed.append(group)


def test_scouts_wait_for_places_on_nodes_that_are_used() -> None:
    """When another node is excluded, those that wait are replaced: on that node they would find a place for nothing."""
    places = Full()
    waiting = Scouts(Shape({"GPU": 1}, 2, {"GPU": 0.5}), places, Waits(scouts_s=0.0))
    waiting.ask(Unmet(1, 1), {})
    waiting.ask(Unmet(1, 1), {})
    assert places.made == [([{"GPU": 1}] * 2, {}), ([{"GPU": 0.5}], {})]
    assert places.removed == []
    where = {"ray.io/node-id": "!in(bad)"}
    waiting.ask(Unmet(1, 1), where)
    assert places.removed == [0, 1]
    assert [asked for _, asked in places.made[2:]] == [where, where]
    waiting.ask(Unmet(0, 1), where)
    assert places.removed == [0, 1, 2]


@pytest.mark.processes
def test_a_study_begins_on_a_cluster_that_has_no_node_yet(tmp_path: Path) -> None:
    model = make_model(tmp_path / "tiny", spread=0.2)
    config = make_config(tmp_path, [model], ["next"], ["xx"], make_tasks(tmp_path / "tasks", ["next"], ["xx"]))
    (tmp_path / "home").mkdir()
    with head(tmp_path / "home", 0, RAY_enable_autoscaler_v2="1") as cluster:
        told = {"RAY_enable_autoscaler_v2": "1", "RAY_ADDRESS": cluster.gcs, "RAY_AUTH_MODE": "token"}
        with (tmp_path / "log").open("wb") as log:
            fork, env = command("orchestrator.sweep", str(config)), {**cluster.env, **told}
            study = subprocess.Popen(fork, cwd=REPOSITORY, env=env, stdout=log, stderr=log)
        waiting: set[str] = set()
        while len(waiting) < 2:
            assert study.poll() is None, (tmp_path / "log").read_text()
            answer = cluster.get("/api/v0/placement_groups").json()
            groups = answer["data"]["result"]["result"] if answer["result"] else []  # else it is busy
            waiting |= {group["name"] for group in groups if group["state"] == "PENDING"}
            time.sleep(0.5)
        assert waiting == {"scout for a trial", "scout for an evaluator"}
        with node(cluster, tmp_path / "node.log", f"--address={cluster.gcs}", "--num-cpus=2"):
            assert study.wait(timeout=600) == 0, (tmp_path / "log").read_text()
    assert len(done_scores(Store(str(tmp_path / "store")))) == 2
