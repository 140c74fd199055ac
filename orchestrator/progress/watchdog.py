"""A watchdog over the store, for all that asks it in the main thread: before the loop of a run, and after it.

The loop asks nothing itself (`errands`) and ends a run well before this does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.scheduling.silence import Awake, Unanswered
from study.ending import end

LOOK_S, GRACE_S = 1.0, 30.0


@contextmanager
def answering(uri: str, limit_s: float, asked: Callable[[], float | None]) -> Iterator[None]:
    """Within, a store that owes an answer for much longer than a limit ends the process, with a line and 1.

    `asked` says since when it owes one, by time.monotonic; None: it does not.
    """
    over = threading.Event()

    def watch() -> None:
        unanswered = Unanswered(Awake())
        while not over.wait(LOOK_S):
            if (silent_s := unanswered.look((asked(),))) > limit_s + GRACE_S:
                problem = f"the store {uri} has not answered for {silent_s:.0f} s"
                end(1, f"error: {problem}: its file system, or the way there, is frozen")

    threading.Thread(target=watch, name="watchdog", daemon=True).start()
    try:
        yield
    finally:
        over.set()
