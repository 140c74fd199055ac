"""The jobs of a cluster that runs already: a client for them, and handing one over."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from orchestrator.cluster.address import check_ours, open_to_all, serves_strangers
from orchestrator.cluster.token import TOKEN_FIX, use_token
from study.errors import ConfigError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

NO_AGENT, STARTING_S = "No available agent", 120.0  # what Ray says while a node starts, and how long that may take
POLL_S = 1.0


def connect(address: str, allow_open: bool = False) -> JobSubmissionClient:
    """A client of the cluster. Raises ConfigError when none of ours answers, it refuses the token, or asks for none."""
    check_ours("--address", address)
    if not allow_open and serves_strangers(address):
        raise open_to_all("--address", address)
    use_token()
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of every file it packs
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        problem = f"the cluster refuses this client: {str(error).splitlines()[0]}"
        raise ConfigError("--address", address, problem, TOKEN_FIX) from error
    except (OSError, RuntimeError, ValueError) as error:  # among them an answer that is no page of Ray
        fix = "open the way to it in another terminal (`ray dashboard cluster.yaml`), or name its dashboard's address"
        raise ConfigError("--address", address, f"no cluster answers there ({error})", fix) from error


def submit(client: JobSubmissionClient, **job: Any) -> str:
    """The job's id. Waits for a node that has just started. Raises ConfigError when the cluster takes no job."""
    end = time.monotonic() + STARTING_S
    while True:
        try:
            return client.submit_job(**job)
        except RuntimeError as error:
            problem = f"the cluster takes no job ({str(error).strip().splitlines()[-1]})"
            if NO_AGENT not in problem or time.monotonic() > end:
                fix = "look at its nodes with `ray status`, at what its head writes in dashboard.log, and try again"
                raise ConfigError("--address", client.get_address(), problem, fix) from error
            time.sleep(POLL_S)
