"""How long what is left takes, as units turn out against their estimates: pure functions of what was seen so far.

A pace is how many seconds a second of the estimate has come to. Before anything was seen it is 1: the plan counts. What
was seen of a stage and model goes before what was seen of its stage, and that before what was seen of all; each counts
alone once `TRUSTED` of its work was seen, and until then beside the wider one. What was seen long ago, by the work done
since, counts less and less: a machine may be busy for a while.

What is under way counts as far as it has come. Seconds are device seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

Key = tuple[str, str]  # stage, model
TRUSTED = 0.02
LATE = 0.25
AROUND = 2.0  # times what units take themselves may pass until they are told of: files are read, results written
MEMORY = 0.1  # of the work of a stage and model, after which what was seen before counts a third


@dataclass(frozen=True)
class UnderWay:
    """What a process has in hand: what it should take, and how far it is.

    It has said that the `share` was done after `spent_s`, and `since_s` have passed from then on; before it has said
    anything from when it should have begun, for which it needs `loading_s` more. One that `works` for certain and takes
    longer than expected tells of its pace by that alone.
    """

    stage: str
    model: str
    estimated_s: float
    share: float = 0.0
    spent_s: float = 0.0
    since_s: float = 0.0
    loading_s: float = 0.0
    works: bool = True

    @property
    def key(self) -> Key:
        return self.stage, self.model

    def on(self, devices: float) -> UnderWay:
        """By device seconds, where it was by the clock."""
        times = {name: getattr(self, name) * devices for name in ("estimated_s", "spent_s", "since_s", "loading_s")}
        return replace(self, **times)

    def done_s(self, pace: float) -> float:
        """What of its estimate should be done by now, at a pace."""
        return min(self.estimated_s, self.share * self.estimated_s + self.since_s / pace)

    def seen(self, pace: float) -> tuple[float, float]:
        """The part of its estimate that is done for certain, and what that took."""
        taken = self.spent_s + self.since_s / AROUND
        if self.works and self.share * self.estimated_s + self.since_s / AROUND / pace >= self.estimated_s:
            return self.estimated_s, taken  # it is late, and ends now at the earliest
        return self.share * self.estimated_s, self.spent_s


def loading_left(expected_s: float, since_s: float) -> float:
    """How much longer loading takes; once that is more than expected, a quarter of what it has taken so far."""
    return max(expected_s - since_s, LATE * since_s)


class Paces:
    """What was seen of units that have ended, by stage and model. `planned_s` is what there was to do."""

    def __init__(self, planned_s: Mapping[Key, float]) -> None:
        self._planned = dict(planned_s)
        self._seen: dict[Key, tuple[float, float]] = {}

    def book(self, key: Key, estimated_s: float, actual_s: float) -> None:
        memory = MEMORY * self._planned.get(key, 0.0)
        kept = math.exp(-estimated_s / memory) if memory else 1.0
        estimated, actual = self._seen.get(key, (0.0, 0.0))
        self._seen[key] = estimated * kept + estimated_s, actual * kept + actual_s

    def by_key(self, under_way: Sequence[UnderWay] = ()) -> dict[Key, float]:
        """The pace of each stage and model, by what has ended and what is under way."""
        sure = self._paces((one.key, one.share * one.estimated_s, one.spent_s) for one in under_way)
        return self._paces((one.key, *one.seen(sure[one.key])) for one in under_way)

    def _paces(self, under_way: Iterable[tuple[Key, float, float]]) -> dict[Key, float]:
        seen: dict[Key, tuple[float, float]] = dict.fromkeys(self._planned, (0.0, 0.0)) | self._seen
        for key, estimated_s, actual_s in under_way:
            before = seen.get(key, (0.0, 0.0))
            seen[key] = before[0] + estimated_s, before[1] + actual_s
        return {key: self._pace(key, seen) for key in seen}

    def _pace(self, key: Key, seen: Mapping[Key, tuple[float, float]]) -> float:
        """From all that was seen to what was seen of this stage and model."""
        pace = 1.0
        for alike in ([*seen], [other for other in seen if other[0] == key[0]], [key]):
            estimated_s, actual_s = (sum(seen[other][of] for other in alike) for of in (0, 1))
            if estimated_s > 0 and actual_s > 0:
                enough = TRUSTED * sum(self._planned.get(other, 0.0) for other in alike)
                wider = max(0.0, enough - estimated_s)
                pace = (actual_s + wider * pace) / (estimated_s + wider)
        return pace


def left_s(to_do_s: Mapping[Key, float], under_way: Sequence[UnderWay], paces: Paces, devices: float) -> float:
    """By the clock, on so many devices: what is to do, less what of that is under way and done by now."""
    pace = paces.by_key(under_way)
    work = sum(one.loading_s for one in under_way)
    for key, seconds in to_do_s.items():
        done = sum(one.done_s(pace[key]) for one in under_way if one.key == key)
        work += max(0.0, seconds - done) * pace.get(key, 1.0)
    return work / devices
