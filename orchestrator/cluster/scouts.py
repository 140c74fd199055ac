"""Asking an autoscaler for nodes: placement groups that wait for resources which no node has free.

What runs is decided by the nodes that are there (`orchestrator.scheduling.decide`), so an autoscaler would never see
what more there is to do. A scout stands for a trial or an evaluator that would start if there were a node for it. One
that finds a place is taken away at once, and the work it stands for takes the place. Scouts end with the driver,
however it ends: nothing keeps a node alive after a study, as a request through Ray's autoscaler SDK would.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from orchestrator.scheduling.decide import Resources, Shape, Unmet
from orchestrator.scheduling.waits import Waits

SCOUT = "scout"


def autoscales() -> bool:
    """Whether the cluster that this process is a job of adds nodes: `ray up` and KubeRay tell every process of it."""
    return os.environ.get("RAY_enable_autoscaler_v2") == "1"  # noqa: SIM112 - Ray's own spelling


class Places:
    """Ray's placement groups, as scouts use them."""

    def ask(self, bundles: Sequence[Resources], name: str, where: Mapping[str, str]) -> PlacementGroup:
        """Begin to wait for a place on nodes that the label selector `where` allows."""
        selectors = [dict(where)] * len(bundles)
        group: PlacementGroup = placement_group(
            [dict(one) for one in bundles], name=name, bundle_label_selector=selectors
        )
        return group

    def waits(self, group: PlacementGroup) -> bool:
        state: Any = placement_group_table(group)["state"]
        return bool(state == "PENDING")

    def remove(self, group: PlacementGroup) -> None:
        remove_placement_group(group)


class Scouts:
    """The scouts that wait."""

    def __init__(self, shape: Shape, places: Places | None = None, waits: Waits | None = None) -> None:
        self._places, self._every_s = places or Places(), (waits or Waits()).scouts_s
        self._bundles = {"a trial": [shape.bundle] * shape.workers, "an evaluator": [shape.evaluator]}
        self._waiting: dict[str, list[PlacementGroup]] = {kind: [] for kind in self._bundles}
        self._asked = -self._every_s
        self._where: Mapping[str, str] = {}

    def ask(self, unmet: Unmet, where: Mapping[str, str]) -> None:
        """Have as many scouts wait as there is unmet demand, for places on nodes that the label selector allows.

        On another node a scout would find a place that no work takes.
        """
        if time.monotonic() - self._asked < self._every_s:
            return
        self._asked = time.monotonic()
        wanted: Mapping[str, int] = {"a trial": unmet.trials, "an evaluator": unmet.evaluators}
        for kind, bundles in self._bundles.items():
            kept: list[PlacementGroup] = []
            for scout in self._waiting[kind]:
                if self._places.waits(scout) and len(kept) < wanted[kind] and where == self._where:
                    kept.append(scout)
                else:
                    self._places.remove(scout)
            self._waiting[kind] = kept
            for _ in range(wanted[kind] - len(kept)):
                kept.append(self._places.ask(bundles, f"{SCOUT} for {kind}", where))
        self._where = dict(where)
