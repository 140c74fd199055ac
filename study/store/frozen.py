"""A store that does not answer: whoever asks it in the main thread hears no signal until it does.

Python runs the handlers of signals in its main thread, between two steps of its own: not while that waits within the
kernel. So a thread of its own sees to it that a process which was asked to end does end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from study.plain import say

END_S = 28.0
SHOW_CURSOR = "\x1b[?25h"


def end_by_signal(seconds: float = END_S) -> None:
    """From now on SIGINT and SIGTERM (130), or the loss of the store (1), end this process so much later at the latest.

    For the main thread of a command's own process.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read, seconds), name="signals", daemon=True).start()


def _watch(signals: int, seconds: float) -> None:
    codes = {signal.SIGINT: 130, signal.SIGTERM: 130, signal.SIGUSR1: 1}
    while (number := os.read(signals, 1)[0]) not in codes:
        continue
    time.sleep(seconds)
    name = signal.Signals(number).name
    end(codes[signal.Signals(number)], f"{name}: ended without waiting any longer for what does not answer")


def end(code: int, reason: str) -> None:
    """End the process at once, whatever its threads wait for; its terminal is left whole."""
    if sys.stdout.isatty():
        sys.stdout.write(SHOW_CURSOR)
    say(reason, sys.stderr)
    sys.stdout.flush()
    os._exit(code)
