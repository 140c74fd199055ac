"""Errands into the store, run one after the other by a thread of their own: one that does not answer stops no loop.

The loop sends them, and takes in what came of them when it comes by (`collect`). Nothing of a run is over while an
errand is pending.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

Some = TypeVar("Some")


class Errands:
    """May be sent from any thread, and are collected by one."""

    def __init__(self) -> None:
        self._todo: SimpleQueue[Callable[[], Callable[[], object]] | None] = SimpleQueue()
        self._done: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._lock = threading.Lock()
        self._pending = 0
        self.asked: float | None = None  # when the errand began that is under way, by time.monotonic
        threading.Thread(target=self._run, name="errands", daemon=True).start()

    @property
    def pending(self) -> int:
        """How many are not collected yet."""
        return self._pending

    def send(self, errand: Callable[[], Some], then: Callable[[Some], object] = lambda _: None) -> None:
        """Run an errand after those before it; `then` is told what it returned, when it is collected."""
        with self._lock:
            self._pending += 1
        self._todo.put(lambda: partial(then, errand()))

    def collect(self) -> None:
        """Take in what came of those that have ended. Raises what they raised."""
        while True:
            try:
                ended = self._done.get_nowait()
            except Empty:
                return
            with self._lock:
                self._pending -= 1
            ended()

    def finish(self, timeout_s: float) -> None:
        """Wait until all are collected, so long at most. Then raises what the first raised of those that failed."""
        deadline, failed = time.monotonic() + timeout_s, list[Exception]()
        while True:
            try:
                self.collect()
            except Exception as error:  # noqa: BLE001 - it is raised when those behind it are done
                failed.append(error)
                continue
            if not self._pending or time.monotonic() >= deadline:
                break
            time.sleep(0.05)
        if failed:
            raise failed[0]

    def close(self) -> None:
        """Let the thread end when it has run what was sent."""
        self._todo.put(None)

    def _run(self) -> None:
        while (errand := self._todo.get()) is not None:
            self.asked = time.monotonic()
            try:
                ended = errand()
            except BaseException as error:  # noqa: BLE001 - it is raised where it is collected
                ended = partial(_raise, error)
            self.asked = None
            self._done.put(ended)


def _raise(error: BaseException) -> None:
    raise error
