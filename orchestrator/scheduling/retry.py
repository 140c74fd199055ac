"""Batches of scores that failed, as a whole or in part: what of them is tried again, and when. No Ray in here."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.failures import backoff_s, budget
from orchestrator.scheduling.backlog import Batch
from orchestrator.scheduling.shrink import halves
from study.config import Failures
from study.faults.kinds import KILLED_FOR_MEMORY, NODE_LOST, STOPS, TRANSIENT, FailureKind
from study.units import ScoreUnit

_PASSING = (TRANSIENT, NODE_LOST, KILLED_FOR_MEMORY)  # later is better than at once


def again(batch: Batch, kind: FailureKind, is_able: bool, failures: Failures, now: float) -> list[Batch]:
    """What to try after a whole batch has failed; nothing where it is given up.

    A batch that has spent its budget may fail by one of its units: where `is_able`, others of the model having been
    scored, its halves are tried once more, and so on.
    """
    attempts = batch.attempts.get(kind, 0) + 1
    if attempts <= budget(kind, failures):
        wait_s = backoff_s(attempts) if kind in _PASSING else 0.0
        return [Batch(batch.units, batch.seconds, {**batch.attempts, kind: attempts}, now + wait_s)]
    if kind in STOPS or len(batch.units) == 1 or not is_able:
        return []
    return [_part(batch, half, batch.attempts, 0.0) for half in halves(batch.units)]


def later(batch: Batch, units: Sequence[ScoreUnit], failures: Failures, now: float) -> list[Batch]:
    """What to try after some units of a batch met passing trouble; nothing where they have done so too often."""
    attempts = batch.attempts.get(TRANSIENT, 0) + 1
    if not units or attempts > budget(TRANSIENT, failures):
        return []
    return [_part(batch, units, {**batch.attempts, TRANSIENT: attempts}, now + backoff_s(attempts))]


def _part(batch: Batch, units: Sequence[ScoreUnit], attempts: dict[str, int], not_before: float) -> Batch:
    return Batch(tuple(units), batch.seconds * len(units) / len(batch.units), attempts, not_before)
