"""Nodes that have the time to start which a busy machine takes, wherever they are started.

Ray gives one 30 s, which is no option of it: in this process (`wait_long`), by `ray start` (`python -m
tests.support.patience start …`), by a study's command (`environment`).
"""

from __future__ import annotations

import time
from typing import Any

LONGEST_S = 300


def environment() -> dict[str, str]:
    """For a process whose `ray.init` may start a node: Ray calls the hook before."""
    return {"RAY_RUNTIME_ENV_HOOK": f"{__name__}.hook"}


def hook(runtime_env: Any) -> Any:
    """Leaves the runtime environment as it is."""
    wait_long()
    return runtime_env


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


if __name__ == "__main__":
    from ray.scripts.scripts import main

    wait_long()
    main()
