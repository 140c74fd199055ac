"""The Ray cluster: the one that runs already, else a local one; and what fits on it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping

import ray
from ray.tune.execution import class_cache

from orchestrator.schedule import Shape, fits
from orchestrator.scouts import autoscales
from orchestrator.token import TOKEN_FIX, keep_to_owner
from study.config import StudyConfig
from study.errors import ConfigError

FRESH_S = 1.0


def connect() -> str | None:
    """Connect to the cluster that RAY_ADDRESS names or `ray start` made on this machine, or start one; its dashboard.

    A cluster that another driver started for itself is left alone: it ends with that driver. One started here asks for
    a token, which is made where there is none. Raises ConfigError when the cluster does not answer or refuses this one.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the store is the record; Tune's files double it
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's own progress output: ours tells of scoring too
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1")  # more would queue before the evaluators
    # Tune hands these to its trials through their runtime environment, which Ray writes to logs and process titles; the
    # nodes' own environment has them where they are needed.
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
        {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    )
    try:
        context = ray.init(
            include_dashboard=True, dashboard_host="127.0.0.1", log_to_driver=False, logging_level=logging.ERROR
        )
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        address = os.environ.get("RAY_ADDRESS", "auto")
        problem = f"the cluster does not answer, or refuses this client ({str(error).splitlines()[0]})"
        fix = f"check that it runs; {TOKEN_FIX}; or start one here: unset RAY_ADDRESS"
        raise ConfigError("RAY_ADDRESS", address, problem, fix) from error
    keep_to_owner()
    return f"http://{context.dashboard_url}" if context.dashboard_url else None


def shape(config: StudyConfig) -> Shape:
    """What a trial and an evaluator hold."""
    return Shape(config.training.resources_per_worker, config.training.workers_per_trial, config.evaluators.resources)


class Nodes:
    """The nodes that are there, as their resources; asked for again when the answer is older than a second."""

    def __init__(self) -> None:
        self._nodes: list[dict[str, float]] = []
        self._asked = -FRESH_S

    def __call__(self) -> list[dict[str, float]]:
        if time.monotonic() - self._asked >= FRESH_S:
            self._nodes = [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]
            self._asked = time.monotonic()
        return self._nodes


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
