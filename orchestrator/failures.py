"""Which kind a failure is, and how often that kind is tried again.

| kind | raised as | tried again |
|---|---|---|
| node_lost | Ray: an actor, worker or node died | `failures.node_lost` times |
| out_of_memory | torch: out of memory; Ray's memory monitor | `failures.out_of_memory` times |
| transient | OSError of a network or a filesystem, HTTP errors | `failures.transient` times, waiting longer each time |
| no_space | the disk or quota is full | no: the study stops |
| nan | the loss is not finite | no |
| bad_data | a cell's data does not fit its task | no |
| bug | anything else | no |
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from datetime import UTC, datetime

from study.config import Failures
from study.errors import ConfigError
from study.tasks import TaskError

NODE_LOST, OUT_OF_MEMORY, TRANSIENT, NO_SPACE = "node_lost", "out_of_memory", "transient", "no_space"
NAN, BAD_DATA, BUG = "nan", "bad_data", "bug"


@dataclass(frozen=True)
class Failure:
    """How a unit ended without a result."""

    unit_id: str
    unit: str
    kind: str
    message: str
    attempts: int
    traceback: str = ""

    def to_json(self) -> dict[str, object]:
        return {
            "unit_id": self.unit_id,
            "unit": self.unit,
            "kind": self.kind,
            "message": self.message,
            "attempts": self.attempts,
            "traceback": self.traceback,
            "failed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def kind_of(error: BaseException) -> str:
    """The kind of an exception, Ray's wrappers taken off."""
    from ray import exceptions as ray_errors

    if isinstance(error, ray_errors.OutOfMemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, ray_errors.RayActorError) and error.actor_init_failed:  # its cause comes as text only
        text = str(error)
        return OUT_OF_MEMORY if "OutOfMemoryError" in text else NO_SPACE if "No space left" in text else BUG
    if isinstance(error, ray_errors.RayTaskError):
        return kind_of(error.cause) if isinstance(error.cause, BaseException) else BUG
    if isinstance(
        error,
        ray_errors.RayActorError
        | ray_errors.WorkerCrashedError
        | ray_errors.NodeDiedError
        | ray_errors.ObjectLostError,
    ):
        return NODE_LOST
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, TaskError | ConfigError):
        return BAD_DATA
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        return NO_SPACE if full else BUG if isinstance(error, FileNotFoundError | PermissionError) else TRANSIENT
    if type(error).__module__.partition(".")[0] in {"httpx", "httpx2", "requests", "huggingface_hub", "urllib3"}:
        return TRANSIENT
    return BUG


def budget(kind: str, failures: Failures) -> int:
    """How often a failure of this kind is tried again."""
    return {
        NODE_LOST: failures.node_lost,
        OUT_OF_MEMORY: failures.out_of_memory,
        TRANSIENT: failures.transient,
    }.get(kind, 0)


def last_line(error: BaseException) -> str:
    """The line of an exception that says what happened."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def backoff_s(attempt: int) -> float:
    """Seconds to wait before trying a transient failure for the `attempt`-th time again: 1, 2, 4 … 60."""
    return float(min(2 ** (attempt - 1), 60))
