"""A number of devices over time: the device seconds that it comes to, and its mean over the last minute."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0


class Meter:
    """Holds a number until it is set again. Times are seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self.device_s = 0.0
        self._steps: deque[tuple[float, float]] = deque()  # since when, how many

    def set(self, now: float, devices: float) -> None:
        if self._steps:
            since, before = self._steps[-1]
            self.device_s += before * (now - since)
        self._steps.append((now, devices))
        while len(self._steps) > 1 and self._steps[1][0] <= now - WINDOW_S:
            self._steps.popleft()

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
