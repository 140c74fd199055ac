"""Scores that wait for an evaluator: which ones go out together, and in which order.

The base model's come first, then adapters in the order in which they became ready, the big targets of each first. When
so little is left that batches get smaller, the biggest units of all adapters go first, so that the end is short.
Units are made only when they are handed out: what waits is an adapter and the numbers of its targets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from orchestrator.planning.grid import Part
from orchestrator.scheduling.decide import MOST_BATCH_S, batch_seconds
from study.units import ScoreUnit

MOST_UNITS = 64  # in a batch: what a lost evaluator costs at most, whatever the estimate says
LOOK_AHEAD = 64  # adapters looked through for the biggest unit


@dataclass
class Batch:
    """Score units of one model, handed to one evaluator."""

    units: tuple[ScoreUnit, ...]
    seconds: float
    attempts: dict[str, int] = field(default_factory=dict)
    not_before: float = 0.0

    @property
    def model(self) -> str:
        return self.units[0].model


@dataclass
class _Open:
    """A part of which the first `taken` units have gone out."""

    part: Part
    taken: int = 0


@dataclass
class _Lane:
    """What waits for one model."""

    bases: deque[_Open] = field(default_factory=deque)
    parts: deque[_Open] = field(default_factory=deque)
    again: deque[Batch] = field(default_factory=deque)
    seconds: float = 0.0
    units: int = 0


class Backlog:
    """What waits, by model. `seconds` gives each model's seconds per target, in the grid's order of targets.

    `pace` holds, by model, how many seconds a second of that estimate turned out to be.
    """

    def __init__(self, seconds: Mapping[str, Sequence[float]], unit: Callable[[Part, int], ScoreUnit]) -> None:
        self._seconds, self._unit = seconds, unit
        self._rows = {model: (self._biggest_first(model, range(len(row))), sum(row)) for model, row in seconds.items()}
        self._lanes: dict[str, _Lane] = {}
        self.pace: dict[str, float] = {}

    def add(self, parts: Iterable[Part]) -> None:
        for part in parts:
            model, seconds = part.model.name, self._seconds[part.model.name]
            if len(part.targets) == len(seconds):  # all of them: one order for all adapters
                targets, total = self._rows[model]
            else:
                targets, total = self._biggest_first(model, part.targets), sum(seconds[i] for i in part.targets)
            lane = self._lane(model)
            opened = _Open(Part(part.model, part.adapter, targets))
            (lane.bases if part.adapter is None else lane.parts).append(opened)
            lane.seconds += total
            lane.units += len(targets)

    def put_back(self, batch: Batch) -> None:
        """A batch that failed, to be tried again from `not_before` on."""
        lane = self._lane(batch.model)
        lane.again.append(batch)
        lane.seconds += batch.seconds
        lane.units += len(batch.units)

    def take(self, model: str, actors: int, now: float) -> Batch | None:
        """What one of a model's `actors` evaluators should do next; None when there is nothing for it now."""
        lane = self._lane(model)
        for _ in range(len(lane.again)):
            batch = lane.again.popleft()
            if batch.not_before <= now:
                return self._out(lane, batch)
            lane.again.append(batch)
        pace = self.pace.get(model, 1.0)
        limit = batch_seconds(lane.seconds * pace, actors)
        units: list[ScoreUnit] = []
        taken_s = 0.0
        seconds = self._seconds.get(model, ())
        while len(units) < MOST_UNITS and (lane.bases or lane.parts):
            queue = lane.bases or lane.parts
            at = self._biggest(queue, seconds) if limit < MOST_BATCH_S else 0
            opened = queue[at]
            target = opened.part.targets[opened.taken]
            if units and (taken_s + seconds[target]) * pace > limit:
                break
            units.append(self._unit(opened.part, target))
            taken_s += seconds[target]
            opened.taken += 1
            if opened.taken == len(opened.part.targets):
                del queue[at]
        return self._out(lane, Batch(tuple(units), taken_s)) if units else None

    def drop(self, model: str) -> list[ScoreUnit]:
        """Take out everything that waits for a model."""
        lane = self._lanes.pop(model, _Lane())
        units = [unit for batch in lane.again for unit in batch.units]
        for opened in (*lane.bases, *lane.parts):
            units += [self._unit(opened.part, target) for target in opened.part.targets[opened.taken :]]
        return units

    def models(self) -> list[str]:
        """Models that anything waits for."""
        return [model for model, lane in self._lanes.items() if lane.units]

    def units(self, model: str) -> int:
        return self._lane(model).units

    def seconds(self, model: str, hands: Iterable[Batch] = ()) -> float:
        """Seconds of what waits, and of what is in hand."""
        waiting = self._lane(model).seconds if self.units(model) else 0.0
        return (waiting + sum(batch.seconds for batch in hands)) * self.pace.get(model, 1.0)

    def has_base(self, model: str) -> bool:
        return bool(self._lane(model).bases)

    def _lane(self, model: str) -> _Lane:
        return self._lanes.setdefault(model, _Lane())

    def _biggest_first(self, model: str, targets: Iterable[int]) -> tuple[int, ...]:
        seconds = self._seconds[model]
        return tuple(sorted(targets, key=lambda i: -seconds[i]))

    @staticmethod
    def _out(lane: _Lane, batch: Batch) -> Batch:
        lane.seconds -= batch.seconds
        lane.units -= len(batch.units)
        return batch

    @staticmethod
    def _biggest(queue: deque[_Open], seconds: Sequence[float]) -> int:
        heads = [seconds[opened.part.targets[opened.taken]] for opened in islice(queue, LOOK_AHEAD)]
        return heads.index(max(heads))
