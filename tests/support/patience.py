"""Nodes that have the time to start which a busy machine takes: Ray gives one 30 s, which is no option of it."""

from __future__ import annotations

import time
from typing import Any

LONGEST_S = 300


def wait_long() -> None:
    """From now on this process waits for nodes that it starts."""
    from ray._private import services

    look = services.get_node
    if look.__module__ == __name__:
        return

    def patient(*arguments: Any) -> Any:
        deadline = time.monotonic() + LONGEST_S
        while True:
            try:
                return look(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    patient.__module__ = __name__
    services.get_node = patient
