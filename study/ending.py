"""The end of a process whose main thread waits for what does not answer, as a frozen store: it hears no signal then.

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

END_S, LAST_WORDS_S = 26.0, 3.0
SHOW_CURSOR = b"\x1b[?25h"


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
    try:
        if os.isatty(1):
            os.write(1, SHOW_CURSOR)
        last = threading.Thread(target=_say_last, args=(reason,), daemon=True)  # the main thread may hold what it needs
        last.start()
        last.join(LAST_WORDS_S)
    finally:
        os._exit(code)


def _say_last(reason: str) -> None:
    say(reason, sys.stderr)
    sys.stdout.flush()
