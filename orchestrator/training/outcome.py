"""What became of a gang: what trials answer, and what Tune's thread tells the main one.

Tune takes a trial's answer as a mapping, which it also writes down as JSON: `as_result` and `of_result` are the two
ends. Everywhere else an outcome is one of the classes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from study.faults.kinds import FailureKind
from study.store.records import FailureRecord


@dataclass(frozen=True)
class Trained:
    """An adapter whose record is in the store: its useful tokens, its share of its gang's seconds, its best losses.

    `notes` are what people should know of it, in words that are equal for adapters of which the same is to be said.
    """

    adapter_id: str
    tokens: int
    seconds: float
    train_loss: float | None = None
    validation_loss: float | None = None
    notes: tuple[str, ...] = ()
    epoch: int = 0  # that was kept


@dataclass(frozen=True)
class GangEnded:
    """Each member is trained, or has failed. `lost` names a node once for each worker that died there."""

    trained: tuple[Trained, ...] = ()
    failed: tuple[FailureRecord, ...] = ()
    lost: tuple[str, ...] = ()

    def __add__(self, other: GangEnded) -> GangEnded:
        return GangEnded(self.trained + other.trained, self.failed + other.failed, self.lost + other.lost)


@dataclass(frozen=True)
class GangMoved:
    """A trial has given up its place, where workers do not start or do not last: the gang waits for another one.

    `attempts` counts the tries by kind of failure; members that have failed before that stay failed.
    """

    attempts: Mapping[str, int]
    failed: tuple[FailureRecord, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class GangLost:
    """A trial's actor is lost, or could not be made, as often as its budget allows: it answers nothing."""

    adapter_ids: tuple[str, ...]
    kind: FailureKind
    message: str


@dataclass(frozen=True)
class TuneStopped:
    """Tune itself has failed."""

    error: Exception


Event = GangEnded | GangLost | TuneStopped


def as_result(outcome: GangEnded | GangMoved) -> dict[str, Any]:
    """For Tune."""
    return {"moved": isinstance(outcome, GangMoved), **asdict(outcome)}


def of_result(result: Mapping[str, Any]) -> GangEnded | GangMoved:
    """What `as_result` has put into a trial's result, beside which Tune puts keys of its own."""
    failed, lost = tuple(FailureRecord(**one) for one in result["failed"]), tuple(result["lost"])
    if result["moved"]:
        return GangMoved(dict(result["attempts"]), failed, lost)
    return GangEnded(tuple(Trained(**{**one, "notes": tuple(one["notes"])}) for one in result["trained"]), failed, lost)
