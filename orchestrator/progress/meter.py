"""What changes over time: a number of devices, and a count that grows, both by the last minute."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0


def _forget(steps: deque[tuple[float, float]], now: float) -> None:
    """Leave of the steps of time those of the last minute, and the one that it began with."""
    while len(steps) > 1 and steps[1][0] <= now - WINDOW_S:
        steps.popleft()


class Meter:
    """Holds a number of devices until it is set again. Times are seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self.device_s = 0.0
        self._steps: deque[tuple[float, float]] = deque()  # since when, how many

    def set(self, now: float, devices: float) -> None:
        if self._steps:
            since, before = self._steps[-1]
            self.device_s += before * (now - since)
        self._steps.append((now, devices))
        _forget(self._steps, now)

    def mean(self) -> float:
        """Over the minute before it was set last, or all the time there was; at first the number itself."""
        if not self._steps:
            return 0.0
        now, devices = self._steps[-1]
        begin = max(self._steps[0][0], now - WINDOW_S)
        if now <= begin:
            return devices
        steps = list(self._steps)
        ends = [at for at, _ in steps[1:]]
        held = sum(count * (end - max(at, begin)) for (at, count), end in zip(steps, ends, strict=False))
        return held / (now - begin)


class Speed:
    """By how much a count grows. Times are seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, float]] = deque()  # at what time, how much

    def set(self, now: float, count: float) -> None:
        self._steps.append((now, count))
        _forget(self._steps, now)

    def per_s(self) -> float:
        """Over the minute before it was set last, or all the time there was; at first 0."""
        if not self._steps:
            return 0.0
        (since, before), (now, count) = self._steps[0], self._steps[-1]
        return max(0.0, count - before) / (now - since) if now > since else 0.0
