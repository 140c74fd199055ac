"""Which work has been silent for too long: a decision, a function of what was heard of it, and when. No Ray in here.

Work says each step that it takes (`study.pulse`). How long a step may take is learned from the run: many times the
longest that was seen, or at first many times what the whole work is expected to take, within bounds.
Times are seconds of the watcher's own clock: nothing depends on what a frozen process would say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from study.pulse import LOADING, Reached

TIMES = 20.0  # as long as the longest step: a false kill costs more than a late one,
MOST_S, LEAST_TIMES = 3 * 3600.0, 3.0  # though not beyond these hours, unless steps take hours themselves
CAP_S = 60.0
LOADING_TIMES = 3.0  # as long as the limit: a download or a slow disk may say nothing for long


@dataclass(frozen=True)
class Duty:
    """What a process was given to do. `stage` is the one that it begins in; another object is other work."""

    what: str
    model: str
    stage: str
    expected_s: float = 0.0


@dataclass(frozen=True)
class Beat:
    """What a process says of its work: how many steps it has taken, its stage, and the longest step of each stage.

    And how far it has come, if it tells that.
    """

    count: int
    stage: str
    longest_s: Mapping[str, float] = field(default_factory=dict)
    reached: Reached | None = None

    @classmethod
    def of(cls, count: int, stage: str, longest_s: Mapping[str, float], reached: Mapping[str, float] | None) -> Beat:
        return cls(count, stage, longest_s, None if reached is None else Reached(**reached))


@dataclass
class _Heard:
    duty: Duty
    at: float
    count: int
    stage: str
    spoke: bool = False
    reached: Reached | None = None
    reached_at: float = 0.0


class Awake:
    """A clock that counts CAP_S at most between two looks at it: who did not look may have been stopped itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._seen, self._counted = clock, clock(), 0.0

    def __call__(self) -> float:
        now = self._clock()
        self._counted += min(now - self._seen, CAP_S)
        self._seen = now
        return self._counted


class SetBack:
    """By how much the clock of the day was set back, by one that nobody sets: Ray's own parts wait by the first."""

    def __init__(self, day: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic) -> None:
        self._day, self._clock = day, clock
        self._ahead = day() - clock()

    def look(self) -> float:
        """Seconds by which it was set back since the last look, where they are worth a word; else 0."""
        ahead = self._day() - self._clock()
        back, self._ahead = self._ahead - ahead, ahead
        return back if back > CAP_S else 0.0


class Unanswered:
    """For how long one question has not been answered, by a watcher's clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._question: float | None = None
        self._since = 0.0

    def look(self, questions: Iterable[float | None]) -> float:
        """Given when each of some questions was asked that has no answer yet (None: there is none)."""
        now, oldest = self._clock(), min((one for one in questions if one is not None), default=None)
        if oldest != self._question:
            self._question, self._since = oldest, now
        return 0.0 if oldest is None else now - self._since


class Silences:
    """What was heard of each process, by its id. `limit_s`: silence is never too long before."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._heard: dict[str, _Heard] = {}
        self._longest: dict[tuple[str, str], float] = {}  # step seen, by model and stage

    def hear(self, duties: Mapping[str, Duty], beats: Mapping[str, Beat], now: float) -> None:
        """Take in what all processes at work are to do, and what was heard of them last."""
        for process in self._heard.keys() - duties.keys():
            del self._heard[process]
        for process, duty in duties.items():
            beat = beats.get(process)
            count = beat.count if beat else 0
            heard = self._heard.get(process)
            if heard is None or heard.duty is not duty:  # what it has said may be of other work
                self._heard[process] = _Heard(duty, now, count, duty.stage)
            elif beat and beat.count != heard.count:
                at = heard.reached_at if beat.reached == heard.reached else now
                self._heard[process] = _Heard(duty, now, count, beat.stage, True, beat.reached, at)
            for stage, seconds in (beat.longest_s if beat else {}).items():
                key = duty.model, stage
                self._longest[key] = max(seconds, self._longest.get(key, 0.0))

    def forgive(self, seconds: float) -> None:
        """So long the watcher could hear nobody: it knows nothing of anybody's silence then."""
        for heard in self._heard.values():
            heard.at += seconds

    def too_long(self, now: float) -> dict[str, float]:
        """The processes that have been silent for too long, and for how long."""
        silent = {process: now - heard.at for process, heard in self._heard.items()}
        return {process: s for process, s in silent.items() if s > self._may_s(self._heard[process])}

    def spoke(self, process: str) -> bool:
        """Whether anything was heard of what a process was given."""
        return self._heard[process].spoke

    def reached(self, process: str, duty: Duty, now: float) -> tuple[Reached, float] | None:
        """How far a process has come with a duty, and since how many seconds that is known, if it is."""
        heard = self._heard.get(process)
        if heard is None or heard.duty is not duty or heard.reached is None:
            return None
        return heard.reached, now - heard.reached_at

    def begin_anew(self, process: str, duty: Duty, now: float) -> None:
        """A process could not begin before now."""
        self._heard[process] = _Heard(duty, now, self._heard[process].count, duty.stage)

    def _may_s(self, heard: _Heard) -> float:
        duty = heard.duty
        step_s = self._longest.get((duty.model, heard.stage), duty.expected_s)
        if heard.stage == LOADING:
            return max(LOADING_TIMES * self._limit_s, _many_times(max(step_s, duty.expected_s)))
        return max(self._limit_s, _many_times(step_s))


def _many_times(step_s: float) -> float:
    return max(min(TIMES * step_s, MOST_S), LEAST_TIMES * step_s)
