"""Evaluators that misbehave, for the pool's tests. Their processes import this file, so it imports little."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.cluster.beats import own_pulse
from study.cells import Cell
from study.pulse import LOADING, WORKING, beat
from study.units import ScoreUnit

if TYPE_CHECKING:
    from orchestrator.scoring.actor import ScoringContext


class Answer(NamedTuple):
    """What evaluators.scored.Scored tells of a score."""

    score_id: str
    ok: bool = True
    kind: str | None = None
    message: str | None = None
    traceback: str | None = None
    seconds: float = 0.0
    tokens: int = 0


def scored(unit: ScoreUnit, seconds: float = 1.0) -> Answer:
    return Answer(unit.score_id, seconds=seconds)


class Flaky:
    """An evaluator whose data of task/xx are out of reach once, those of task/yy always."""

    def __init__(self) -> None:
        self._asked: Counter[Cell] = Counter()

    def load(self, context: ScoringContext, *_: object) -> None:
        """There is no model."""

    def score(self, units: tuple[ScoreUnit, ...], requests: object) -> list[Answer]:
        return [self._one(unit) for unit in units]

    def _one(self, unit: ScoreUnit) -> Answer:
        self._asked[unit.target] += 1
        language, seconds = unit.target.language, float(self._asked[unit.target])
        if language == "yy" or (language == "xx" and seconds == 1):
            return Answer(unit.score_id, False, "transient", "refused", "the traceback")
        return scored(unit, seconds)


class Broken(Flaky):
    """An evaluator whose device fails with its second batch, and then with every one; a new process gets another."""

    def __init__(self) -> None:
        self._batches = 0

    def score(self, units: tuple[ScoreUnit, ...], requests: object) -> list[Answer]:
        self._batches += 1
        if self._batches > 1:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return [scored(unit, os.getpid()) for unit in units]


class Poisoned(Flaky):
    """An evaluator that cannot do a batch with l7 in it."""

    def score(self, units: tuple[ScoreUnit, ...], requests: object) -> list[Answer]:
        if any(unit.target.language == "l7" for unit in units):
            raise ZeroDivisionError("a bug that one unit brings out")
        return [scored(unit) for unit in units]


class Late(Flaky):
    """An evaluator of which the first four to start cannot read the model."""

    def load(self, context: ScoringContext, *_: object) -> None:
        with open(f"{context.config.store}.starts", "a+") as starts:
            starts.write("x")
            starts.flush()
            if starts.tell() <= 4:
                raise ConnectionResetError("connection reset by peer")


class Held(Flaky):
    """An evaluator that comes to no end with what model m has to score."""

    def score(self, units: tuple[ScoreUnit, ...], requests: object) -> list[Answer]:
        while units[0].model == "m":
            time.sleep(0.1)
        return super().score(units, requests)


class Freezing(Flaky):
    """An evaluator whose first process is stopped while it loads, and whose second one is while it scores.

    Those after them say their steps for longer than silence may last.
    """

    def load(self, context: ScoringContext, *_: object) -> None:
        self._pulse = own_pulse()
        self._pulse.begin(LOADING)
        with open(f"{context.config.store}.starts", "a+") as starts:
            starts.write("x")
            starts.flush()
            self._number = starts.tell()
        if self._number == 1:
            os.kill(os.getpid(), signal.SIGSTOP)

    def score(self, units: tuple[ScoreUnit, ...], requests: object) -> list[Answer]:
        self._pulse.begin(WORKING)
        beat()
        if self._number == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        for _ in range(20):
            time.sleep(0.3)
            beat()
        return [scored(unit, self._number) for unit in units]


class Stubborn(Flaky):
    """An evaluator that can do nothing."""

    def score(self, units: tuple[ScoreUnit, ...], requests: object) -> list[Answer]:
        raise ZeroDivisionError(f"a bug in everything, {units[0].target}")
