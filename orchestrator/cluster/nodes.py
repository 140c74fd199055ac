"""The Ray cluster: the one that runs already, else a local one; and what fits on it."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import ray
from ray._private.state import actors as actor_states
from ray.tune.execution import class_cache
from ray.util.placement_group import placement_group_table

from orchestrator.cluster.scouts import SCOUT, autoscales
from orchestrator.cluster.token import TOKEN_FIX, keep_to_owner
from orchestrator.scheduling.blame import Blame, selector
from orchestrator.scheduling.decide import Shape, fits
from study.config import StudyConfig
from study.errors import ConfigError

FRESH_S = 1.0
LEAST_SCRATCH = 256 << 20


def connect() -> str | None:
    """Connect to the cluster that RAY_ADDRESS names or `ray start` made on this machine, or start one; its dashboard.

    A cluster that another driver started for itself is left alone: it ends with that driver. One started here asks for
    a token, which is made where there is none. Raises ConfigError when the cluster does not answer or refuses this one,
    and when this machine's scratch is full, which Ray would notice after a minute and say in fifty lines.
    """
    _check_scratch()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the store is the record; Tune's files double it
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's own progress output: ours tells of scoring too
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1")  # more would queue before the evaluators
    # Tune hands these to its trials through their runtime environment, which Ray writes to logs and process titles; the
    # nodes' own environment has them where they are needed.
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
        {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    )
    for silent in ("tune", "execution.tune_controller"):  # complaints of snapshots nobody reads, of trials tried again
        logging.getLogger(f"ray.tune.{silent}").setLevel(logging.CRITICAL)
    if os.environ.get("RAY_ADDRESS", "local") != "local":  # a cluster that is gone is told within a minute, not 14
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    try:
        context = ray.init(
            include_dashboard=True, dashboard_host="127.0.0.1", log_to_driver=False, logging_level=logging.ERROR
        )
    except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError) as error:
        if type(error) is RuntimeError and "connect to GCS" not in str(error):
            raise
        address = os.environ.get("RAY_ADDRESS", "auto")
        problem = f"the cluster does not answer, or refuses this client ({str(error).splitlines()[0]})"
        fix = f"check that it runs; {TOKEN_FIX}; or start one here: unset RAY_ADDRESS"
        raise ConfigError("RAY_ADDRESS", address, problem, fix) from error
    keep_to_owner()
    return f"http://{context.dashboard_url}" if context.dashboard_url else None


def _check_scratch() -> None:
    for name, folder in (("RAY_TMPDIR", os.environ.get("RAY_TMPDIR", "/tmp")), ("TMPDIR", tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free if os.path.isdir(folder) else LEAST_SCRATCH
        if free < LEAST_SCRATCH:
            raise ConfigError(
                name,
                folder,
                f"has {free >> 20} MiB free; Ray's sessions and trials' scratch need {LEAST_SCRATCH >> 20}",
                f"make space there, or set {name} to another folder",
            )


def shape(config: StudyConfig) -> Shape:
    """What a trial and an evaluator hold."""
    return Shape(config.training.resources_per_worker, config.training.workers_per_trial, config.evaluators.resources)


class Nodes:
    """The nodes that are there and not excluded, as their resources; asked for again after a second.

    `lost` books processes that died; `on_change` is told a node's id and whether it is used from now on. Excluded nodes
    are taken back where the study could not go on without them and nothing adds others.
    """

    def __init__(self, shape: Shape, excluded: Iterable[str], on_change: Callable[[str, bool], None]) -> None:
        self._nodes: list[dict[str, float]] = []
        self._asked = -FRESH_S
        self._shape, self._blame, self._on_change = shape, Blame(set(excluded)), on_change

    def __call__(self) -> list[dict[str, float]]:
        if time.monotonic() - self._asked >= FRESH_S:
            alive = _alive()
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
            alive = _alive()
            dispensable = node in alive and self._suffice(alive, {*self._blame.excluded, node})
            if self._blame.add(node, work, dispensable, time.monotonic()):
                self._asked = -FRESH_S
                self._on_change(node, False)

    def _suffice(self, alive: Mapping[str, Mapping[str, float]], without: Collection[str]) -> bool:
        """Whether a whole trial, and an evaluator, fit on the nodes that are there without some."""
        nodes = [resources for node, resources in alive.items() if node not in without]
        workers = sum(fits(node, {}, self._shape.bundle) for node in nodes)
        return workers >= self._shape.workers and any(fits(node, {}, self._shape.evaluator) for node in nodes)


def _alive() -> dict[str, dict[str, float]]:
    return {node["NodeID"]: dict(node["Resources"]) for node in ray.nodes() if node["Alive"]}


def lacks_place() -> bool:
    """Whether a placement group that is no scout's waits for one."""
    groups: Any = placement_group_table()
    return any(group["state"] == "PENDING" and not group["name"].startswith(SCOUT) for group in groups.values())


def died_on(actors: Iterable[Any]) -> list[str]:
    """The nodes on which those of some actors ran that are dead now."""
    return [state["Address"]["NodeID"] for state in _states(actors) if state.get("State") == "DEAD"]


def placed_on(actors: Iterable[Any]) -> list[str]:
    """The nodes on which some actors run, or ran."""
    return [state["Address"]["NodeID"] for state in _states(actors) if state.get("Address")]


def _states(actors: Iterable[Any]) -> list[dict[str, Any]]:
    return [actor_states(actor._actor_id.hex()) for actor in actors]


def check_fits(config: StudyConfig, total: Mapping[str, float]) -> None:
    """Raise ConfigError when a trial or an evaluator can never run: known where no node is added."""
    if autoscales():
        return
    training = config.training
    trial = {name: amount * training.workers_per_trial for name, amount in training.resources_per_worker.items()}
    for key, wanted in (
        ("training.resources_per_worker", trial),
        ("evaluators.resources", config.evaluators.resources),
    ):
        if fits(total, {}, wanted) < 1:
            has = ", ".join(f"{name}: {total.get(name, 0):g}" for name in wanted)
            raise ConfigError(
                key,
                wanted,
                f"does not fit on the cluster, which has {has}",
                f"lower it, e.g. --set '{key}={{CPU: 1}}', or add nodes",
            )
