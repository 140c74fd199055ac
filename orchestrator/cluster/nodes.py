"""The nodes of the Ray cluster: which there are, which lose too much to be used, and where actors ran or died."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import ray
from ray._private.state import actors as actor_states
from ray.util.placement_group import placement_group_table

from orchestrator.cluster.actors import Actor
from orchestrator.cluster.scouts import SCOUT, autoscales
from orchestrator.scheduling.blame import Blame, selector
from orchestrator.scheduling.decide import Shape, fits
from orchestrator.scheduling.waits import Waits
from study.config import StudyConfig

Ask = Callable[[], dict[str, dict[str, float]]]


def alive_nodes() -> dict[str, dict[str, float]]:
    """The resources of every node that is there, by its id."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: dict(node["Resources"]) for node in nodes if node["Alive"]}


def shape(config: StudyConfig) -> Shape:
    """What a trial and an evaluator hold."""
    return Shape(config.training.resources_per_worker, config.training.workers_per_trial, config.evaluators.resources)


class Nodes:
    """The nodes that are there and not excluded, as their resources; asked for again after a second.

    `lost` books processes that died; `on_change` is told a node's id and whether it is used from now on. Excluded nodes
    are taken back where the study could not go on without them and nothing adds others.
    """

    def __init__(
        self,
        shape: Shape,
        excluded: Iterable[str],
        on_change: Callable[[str, bool], None],
        ask: Ask = alive_nodes,
        waits: Waits | None = None,
    ) -> None:
        self._ask, self._fresh_s = ask, (waits or Waits()).fresh_s
        self._nodes: list[dict[str, float]] = []
        self._asked = -self._fresh_s
        self._shape, self._blame, self._on_change = shape, Blame(set(excluded)), on_change

    def __call__(self) -> list[dict[str, float]]:
        if time.monotonic() - self._asked >= self._fresh_s:
            alive = self._ask()
            if not autoscales() and not self._suffice(alive, self._blame.excluded) and self._suffice(alive, ()):
                back = sorted(self._blame.excluded & alive.keys())
                self._blame.take_back(back)
                for node in back:
                    self._on_change(node, True)
            self._nodes = [resources for node, resources in alive.items() if node not in self._blame.excluded]
            self._asked = time.monotonic()
        return self._nodes

    def selector(self) -> dict[str, str]:
        """Where actors and placement groups may go."""
        return selector(self._blame.excluded)

    def lost(self, nodes: Iterable[str], work: Collection[str]) -> None:
        """Book a process that was lost on each of these nodes, at `work` (ids of units)."""
        for node in nodes:
            alive = self._ask()
            dispensable = node in alive and self._suffice(alive, {*self._blame.excluded, node})
            if self._blame.add(node, work, dispensable, time.monotonic()):
                self._asked = -self._fresh_s
                self._on_change(node, False)

    def _suffice(self, alive: Mapping[str, Mapping[str, float]], without: Collection[str]) -> bool:
        """Whether a whole trial, and an evaluator, fit on the nodes that are there without some."""
        nodes = [resources for node, resources in alive.items() if node not in without]
        workers = sum(fits(node, {}, self._shape.bundle) for node in nodes)
        return workers >= self._shape.workers and any(fits(node, {}, self._shape.evaluator) for node in nodes)


def lacks_place() -> bool:
    """Whether a placement group that is no scout's waits for one."""
    groups: Any = placement_group_table()
    return any(group["state"] == "PENDING" and not group["name"].startswith(SCOUT) for group in groups.values())


def died_on(actors: Iterable[Actor]) -> list[str]:
    """The nodes on which those of some actors ran that are dead now."""
    return [state["Address"]["NodeID"] for state in _states(actors) if state.get("State") == "DEAD"]


def placed_on(actors: Iterable[Actor]) -> list[str]:
    """The nodes on which some actors run, or ran."""
    return [state["Address"]["NodeID"] for state in _states(actors) if state.get("Address")]


def _states(actors: Iterable[Actor]) -> list[dict[str, Any]]:
    """What Ray's control service says of some actors."""
    return [actor_states(actor._actor_id.hex()) for actor in actors]
