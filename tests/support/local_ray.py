"""A local Ray for tests, without what no test asks: dashboard, log monitor, the autoscaler's monitor.

These are a dozen processes, and more than half of what it takes to start: more than a tiny study takes. Its workers are
forks of one process that has imported what they need.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import ray
from ray._private.node import Node

from tests.support.forks.graft import graft

NOT_ASKED = ("start_api_server", "start_log_monitor", "start_monitor")


@contextmanager
def lean() -> Iterator[None]:
    """Clusters that are started within the block are of the parts that run tasks and actors."""
    with pytest.MonkeyPatch.context() as patch:
        for part in NOT_ASKED:
            patch.setattr(Node, part, _nothing)
        graft()
        yield


@contextmanager
def local_ray(cpus: int, **options: Any) -> Iterator[None]:
    """A lean cluster of this process, for the time of the block."""
    with lean():
        ray.init("local", num_cpus=cpus, log_to_driver=False, **options)
    try:
        yield
    finally:
        ray.shutdown()


def _nothing(node: Node, **_: Any) -> None:
    pass
