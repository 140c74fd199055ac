"""Which kind a failure is, how often that kind is tried again, and what a later run does about it: docs/failures.md."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from traceback import format_exception

from study.config import Failures
from study.errors import ConfigError, StoreRefused, TaskError
from study.faults.device import breaks_process, is_broken, is_out_of_memory, says_full
from study.faults.kinds import (
    BAD_DATA,
    BUG,
    HUNG,
    KILLED_FOR_MEMORY,
    LASTING,
    NO_SPACE,
    NODE_LOST,
    OUT_OF_MEMORY,
    STORE_REFUSED,
    TRANSIENT,
    FailureKind,
)
from study.faults.network import Unreachable, http_status, is_network_name, is_network_trouble
from study.store.filesystem import is_refused
from study.store.records import FailureRecord
from study.units import AdapterUnit, ScoreUnit, failure_of

LOST: dict[FailureKind, str] = {  # processes
    NODE_LOST: "the process that worked on it is gone: it crashed, was killed, or its node was taken away",
    KILLED_FOR_MEMORY: "the process that worked on it was killed, since its node had no memory left",
}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class NotStarted(Exception):
    """A process has not come up in time: the node that it needs is gone, or slow."""


class Hung(Exception):
    """A process lives and does nothing; it has been killed. Where it stood is `found`, to be left in a `file`."""

    def __init__(self, said: str, file: str = "", found: str = "") -> None:
        super().__init__(f"{said}: killed; where it stood: {file}")
        self.file, self.found = file, f"{said}\n\n{found}\n".encode()


def raised(unit: AdapterUnit | ScoreUnit, kind: FailureKind, error: BaseException, attempts: int) -> FailureRecord:
    """The record of a unit that has failed by an exception."""
    return failure_of(unit, kind, words_of(error, kind), attempts, "".join(format_exception(error)))


def words_of(error: BaseException, kind: FailureKind) -> str:
    """What people are told of an exception: our own are sentences, of others it is the last line, with their class.

    What Ray says of a process that is gone is long, and guesses why: that stands in the traceback alone.
    """
    cause = getattr(error, "cause", None)  # of what Ray puts around it
    meant = cause if isinstance(cause, BaseException) else error
    if kind in LOST and type(meant).__module__.startswith("ray."):
        return LOST[kind]
    ours = isinstance(meant, ConfigError | TaskError | StoreRefused | Unreachable | NotStarted | Hung)
    return " ".join(str(meant).split()) if ours else last_line(error)


def kind_of(error: BaseException) -> FailureKind:
    """The kind of an exception, Ray's wrappers taken off."""
    from ray import exceptions as ray_errors

    if isinstance(error, ray_errors.RayTaskError):
        return kind_of(error.cause) if isinstance(error.cause, BaseException) else BUG
    if isinstance(error, Hung):
        return HUNG
    if isinstance(error, ray_errors.OutOfMemoryError):
        return KILLED_FOR_MEMORY
    if isinstance(error, ray_errors.OutOfDiskError):
        return NO_SPACE
    if isinstance(error, ray_errors.RayActorError) and error.actor_init_failed:  # its cause comes as text only
        return _kind_of_text(str(error))
    if isinstance(error, ray_errors.GetTimeoutError | ray_errors.RpcError):
        return TRANSIENT
    if isinstance(error, _lost()):
        return NODE_LOST
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, NotStarted) or is_broken(error):
        return NODE_LOST
    if isinstance(error, TaskError | ConfigError):
        return BAD_DATA
    if isinstance(error, StoreRefused):
        return NO_SPACE if error.errno in _FULL else STORE_REFUSED
    return _kind_of_io(error)


def _lost() -> tuple[type[Exception], ...]:
    """What Ray raises when a process, or the node under it, is gone. A worker that dies by a signal looks the same."""
    from ray import exceptions as ray_errors

    return (
        ray_errors.RayActorError,
        ray_errors.ActorPlacementGroupRemoved,
        ray_errors.TaskPlacementGroupRemoved,
        ray_errors.WorkerCrashedError,
        ray_errors.NodeDiedError,
        ray_errors.LocalRayletDiedError,
        ray_errors.ObjectLostError,
    )


def _kind_of_io(error: BaseException) -> FailureKind:
    """Files, buckets and HTTP: what passes by itself is transient; what is missing or forbidden stays so."""
    if http_status(error) is None and _says_no_space(str(error)):  # safetensors says so in a class of its own
        return NO_SPACE
    if is_network_trouble(error):
        return TRANSIENT
    if http_status(error) is not None or not isinstance(error, OSError):
        return BUG
    if error.errno in _FULL:
        return NO_SPACE
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError):
        return BUG
    return BUG if is_refused(error) else TRANSIENT


def kind_of_words(words: str) -> FailureKind:
    """The same where there is no exception, only Ray's words of it: lines of code are among them if one was raised."""
    from ray import exceptions as ray_errors

    if '  File "' not in words:
        return KILLED_FOR_MEMORY if "low on memory" in words else NODE_LOST
    named = re.findall(r"^ray\.exceptions\.(\w+):", words, re.MULTILINE)
    if any(issubclass(getattr(ray_errors, name, Exception), _lost()) for name in named):
        return NODE_LOST
    hung = last_line(Exception(words)).startswith(f"{Hung.__module__}.{Hung.__name__}: ")
    return HUNG if hung else _kind_of_text(words)


def _kind_of_text(text: str) -> FailureKind:
    """The kind of an exception that is known by its traceback alone."""
    name, _, message = last_line(Exception(text)).partition(": ")
    name = name.rpartition(".")[2]
    if name in ("OutOfMemoryError", "MemoryError") or says_full(message):
        return OUT_OF_MEMORY
    if _says_no_space(message):
        return NO_SPACE
    if name == StoreRefused.__name__:
        return STORE_REFUSED
    if name in (TaskError.__name__, ConfigError.__name__):
        return BAD_DATA
    later = is_network_name(name) or name in ("LocalEntryNotFoundError", Unreachable.__name__)
    return TRANSIENT if later or (name == "OSError" and "AWS Error" in message) else BUG


def _says_no_space(message: str) -> bool:
    return "No space left" in message or "Disk quota exceeded" in message


def is_spoilt(error: BaseException) -> bool:
    """Whether the process that raised this is of no more use, though it lives."""
    from ray import exceptions as ray_errors

    if isinstance(error, ray_errors.RayTaskError):
        return isinstance(error.cause, BaseException) and is_spoilt(error.cause)
    return breaks_process(error)


def budget(kind: str, failures: Failures) -> int:
    """How often a failure of this kind is tried again."""
    budgets: dict[str, int] = {
        NODE_LOST: failures.node_lost,
        KILLED_FOR_MEMORY: failures.killed_for_memory,
        HUNG: failures.hung,
        OUT_OF_MEMORY: failures.out_of_memory,
        TRANSIENT: failures.transient,
    }
    return budgets.get(kind, 0)


def lasting(failures: Mapping[str, FailureRecord]) -> dict[str, FailureRecord]:
    """Of recorded failures those that a later run keeps as they are: what failed would fail again.

    A record of an older release, which does not say of which unit it is, is none of them: its unit is tried again.
    """
    return {name: one for name, one in failures.items() if one.kind in LASTING and one.subject_id is not None}


def last_line(error: BaseException) -> str:
    """The line of an exception that says what happened."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def backoff_s(attempt: int) -> float:
    """Seconds to wait before trying a transient failure for the `attempt`-th time again: 1, 2, 4 … 60."""
    return float(min(2 ** (attempt - 1), 60))
