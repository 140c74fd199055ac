"""What became of a unit that was to be scored."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from study.faults.kinds import FailureKind
from study.units import ScoreUnit


@dataclass(frozen=True)
class Scored:
    """The outcome of scoring a unit: its rows are in the store if `ok`; else `kind` names the failure."""

    score_id: str
    ok: bool
    kind: FailureKind | None
    message: str | None
    traceback: str | None
    seconds: float
    tokens: int
    n_items: int
    metrics: tuple[tuple[str, float], ...] = ()


def failed(unit: ScoreUnit, kind: FailureKind, error: Exception) -> Scored:
    lines = "".join(traceback.format_exception(error))
    return Scored(unit.score_id, False, kind, str(error), lines, 0.0, 0, 0)
