"""A process that loses the store to another one ends by an exception in its main thread."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import NoReturn


class LeaseLost(BaseException):
    """Another process works on the store now. Not an Exception, so that no handler of failures takes it for one."""


def stopper() -> Callable[[str], None]:
    """Make the function that a thread calls, with its reason, to have LeaseLost raised in the main thread."""
    reasons: list[str] = []

    def raise_it(number: int, frame: object) -> NoReturn:
        raise LeaseLost(f"this run has lost the store: {reasons[0]}")

    def stop(reason: str) -> None:
        reasons.append(reason)
        os.kill(os.getpid(), signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, raise_it)
    return stop
