"""How a run ends before its end: a signal, another driver that has taken the store over, or no way to go on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from study.store.lease import Lease
from study.store.lost import LeaseLost

# an interrupt ends a run within half a minute: Tune has 5 s before,
LET_GO_S = 13.0  # then errands into the store and trackers have these,
LEAVE_S = 12.0  # and the cluster and the lease those


class Interrupted(BaseException):
    """A signal asked the run to stop. Not an Exception, so that no handler of failures takes it for one."""


class StudyStopped(Exception):
    """The study cannot go on at all (the disk is full, Tune itself failed); what is done is in the store."""


class LimitReached(Exception):
    """The run has held the devices for as long as it was to; what is done is in the store."""

    def __init__(self, held_h: float) -> None:
        super().__init__(held_h)
        self.held_h = held_h


def on_signals() -> None:
    """SIGINT and SIGTERM raise Interrupted in the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    raise Interrupted(signal.Signals(number).name)


@contextmanager
def as_raised() -> Iterator[None]:
    """Raise again what a handler has raised while Ray's compiled code ran, which can turn it into a SystemError."""
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, Interrupted | LeaseLost):
            raise error.__cause__ from None
        raise


def exit_code(error: BaseException) -> int:
    """The exit code of a run that an error has ended."""
    return 130 if isinstance(error, Interrupted) else 1


@contextmanager
def at_latest(code: int) -> Iterator[None]:
    """Within, the process ends LET_GO_S from now: a tracker whose server does not answer holds nobody up."""
    timer = _exit_after(LET_GO_S, code)
    try:
        yield
    finally:
        timer.cancel()


def _exit_after(seconds: float, code: int) -> threading.Timer:
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()
    return timer


def leave(code: int, lease: Lease) -> NoReturn:
    """Free the cluster's devices, give the store back and end the process, LEAVE_S from now at the latest.

    A cluster or a store that does not answer then finds out by itself: processes of a cluster that this one has started
    end with it, and its hold on the store runs out.
    """
    import ray

    _exit_after(LEAVE_S, code)
    sys.stdout.flush()
    sys.stderr.flush()
    with open(os.devnull, "w") as nowhere:  # Tune's thread complains about the actors it loses; it has nothing to say
        os.dup2(nowhere.fileno(), 2)
        ray.shutdown()
        lease.give_back()
        os._exit(code)
