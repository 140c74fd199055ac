"""Connecting to the Ray cluster that runs already, else to a local one that is started; whether a study fits there."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray._private import accelerators, services, worker
from ray.tune.execution import class_cache

from orchestrator.cluster.address import check_answers, check_closed, own_folder, temporary, to_use
from orchestrator.cluster.scouts import autoscales
from orchestrator.cluster.token import TOKEN_FIX, keep_to_owner
from orchestrator.scheduling.decide import fits
from study.config import StudyConfig
from study.errors import ConfigError

LEAST_SCRATCH = 256 << 20
ENDED = "A worker died or was killed while executing a task"  # as a raylet says it
ITS_LOGS = "lines of the Raylet logs:"  # after which an agent adds them to its words of a raylet that has ended


@dataclass(frozen=True)
class Connected:
    """The cluster of this run: its dashboard, if any, and whether it refuses who shows no token (None: unseen)."""

    dashboard: str | None
    is_closed: bool | None

    def __str__(self) -> str:
        if self.is_closed:
            seen = "a call without a token was refused; `ray get-auth-token` prints it"
        elif self.is_closed is None:
            seen = "whether it asks for a token could not be seen from here"
        else:
            seen = "OPEN: it answered without a token, as --allow-open-cluster lets it"
        return f"Ray dashboard: {self.dashboard or 'none'} ({seen})"


def connect(allow_open: bool = False) -> Connected:
    """Connect to the cluster that RAY_ADDRESS names or `ray start` made on this machine, or start one.

    A cluster that another driver started for itself is left alone: it ends with that driver. One started here asks for
    a token, which is made where there is none, and has its sessions in a folder of this user's alone. Raises
    ConfigError when the cluster does not answer or refuses this one, when it answers strangers too (unless
    `allow_open`), and when this machine's scratch is full, which Ray would notice after a minute and say at length.
    """
    _check_scratch()
    _quieten()
    address = to_use()
    if address is None:
        os.environ["RAY_TMPDIR"] = str(own_folder())
    elif "://" not in address:
        check_answers(address)
        check_closed(address, allow_open)
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # one that is gone is told in a minute, not in 14
    dashboard = _init(address or "local")
    keep_to_owner()
    return Connected(dashboard, check_closed(ray.get_runtime_context().gcs_address, allow_open))


def _quieten() -> None:
    """What Ray and Tune would do, or say, that a study has no use for."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the store is the record; Tune's files double it
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's own progress output: ours tells of scoring too
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1")  # more would queue before the evaluators
    # Tune hands these to its trials through their runtime environment, which Ray writes to logs and process titles; the
    # nodes' own environment has them where they are needed.
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
        {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    )
    worker.print_to_stdstream = _tell
    for silent in ("tune", "execution.tune_controller"):  # complaints of snapshots nobody reads, of trials tried again
        logging.getLogger(f"ray.tune.{silent}").setLevel(logging.CRITICAL)


def _tell(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    """What Ray publishes to its driver, but each end of a process: what matters of these to a study we tell.

    Of a node that has ended the words, and not the stacks of Ray's own parts.
    """
    for text in data["lines"]:
        if ENDED not in text:
            words, _, logs = text.partition(ITS_LOGS)
            logging.getLogger("ray").error("%s", f"{words}{ITS_LOGS} Ray has them" if logs else text)


def _init(address: str) -> str | None:
    """Join a cluster, or start one; its dashboard."""
    try:
        context = ray.init(
            address=address,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # a node that does not start in time is told by nothing narrower; all else goes on
        if "timed out during startup" in str(error):  # Ray's own wait is 30 s
            problem, fix = "Ray did not start here within 30 s", "try again when less else runs on this machine"
            raise ConfigError("RAY_ADDRESS", address, problem, fix) from error
        if not isinstance(error, ConnectionError | RuntimeError | ray.exceptions.AuthenticationError):
            raise
        if type(error) is RuntimeError and "connect to GCS" not in str(error):
            raise
        problem = f"the cluster does not answer, or refuses this client ({str(error).splitlines()[0]})"
        fix = f"check that it runs; {TOKEN_FIX}; or start one here: unset RAY_ADDRESS"
        raise ConfigError("RAY_ADDRESS", address, problem, fix) from error
    return f"http://{context.dashboard_url}" if context.dashboard_url else None


def _check_scratch() -> None:
    for name, folder in (("RAY_TMPDIR", str(temporary())), ("TMPDIR", tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free if os.path.isdir(folder) else LEAST_SCRATCH
        if free < LEAST_SCRATCH:
            raise ConfigError(
                name,
                folder,
                f"has {free >> 20} MiB free; Ray's sessions and trials' scratch need {LEAST_SCRATCH >> 20}",
                f"make space there, or set {name} to another folder",
            )


def check_machine(config: StudyConfig) -> None:
    """Raise ConfigError for GPUs that this machine lacks, where a cluster would be started on it: known at once."""
    if services.canonicalize_bootstrap_address(None) is not None:  # type: ignore[arg-type]  # as ray.init asks
        return
    manager = accelerators.get_accelerator_manager_for_resource("GPU")
    has = manager.get_current_node_num_accelerators() if manager else 0
    training, workers = config.training.resources_per_worker, config.training.workers_per_trial
    for key, resources, times in (
        ("training.resources_per_worker", training, workers),
        ("evaluators.resources", config.evaluators.resources, 1),
    ):
        if resources.get("GPU", 0) * times > has:
            problem = f"needs {resources['GPU'] * times:g} GPUs, and this machine has {has}"
            fix = f"--set '{key}={{CPU: 1}}', or set RAY_ADDRESS to a cluster that has them"
            raise ConfigError(key, resources, problem, fix)


def check_fits(config: StudyConfig, nodes: Sequence[Mapping[str, float]]) -> None:
    """Raise ConfigError when a trial or an evaluator can never run: known where no node is added.

    Workers of a trial may lie on several nodes; each of them, and an evaluator, lies on one.
    """
    if autoscales():
        return
    training = config.training
    for key, wanted, times in (
        ("training.resources_per_worker", training.resources_per_worker, training.workers_per_trial),
        ("evaluators.resources", config.evaluators.resources, 1),
    ):
        if sum(fits(node, {}, wanted) for node in nodes) < times:
            found = {", ".join(f"{name}: {node.get(name, 0):g}" for name in wanted) for node in nodes}
            problem = f"does not fit {times} times" if times > 1 else "does not fit"
            raise ConfigError(
                key,
                wanted,
                f"{problem} on the cluster's nodes, each of which has {' or '.join(sorted(found))}",
                f"lower it, e.g. --set '{key}={{CPU: 1}}', or add nodes",
            )
