"""How a run ends before its end: a signal, another driver that has taken the store over, or no way to go on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from study.store.lease import Lease
from study.store.lost import LeaseLost


class Interrupted(BaseException):
    """A signal asked the run to stop. Not an Exception, so that no handler of failures takes it for one."""


class StudyStopped(Exception):
    """The study cannot go on at all (the disk is full, Tune itself failed); what is done is in the store."""


class LimitReached(Exception):
    """The run has held the devices for as long as it was to; what is done is in the store."""


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


def leave(code: int, lease: Lease) -> NoReturn:
    """Free the cluster's devices, give the store back and end the process; Tune's thread would wait for its trials."""
    import ray

    sys.stdout.flush()
    sys.stderr.flush()
    with open(os.devnull, "w") as nowhere:  # Tune's thread complains about the actors it loses; it has nothing to say
        os.dup2(nowhere.fileno(), 2)
        ray.shutdown()
        lease.give_back()
        os._exit(code)
