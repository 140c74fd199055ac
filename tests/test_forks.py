"""Workers and agents are forks, also for a process that has imported and done what sets variables that imports read."""

import os

import psutil
import pytest
import ray

from tests.support.forks.graft import ATTEND, planted
from tests.support.local_ray import local_ray


@pytest.mark.processes
def test_a_worker_begins_with_its_imports_done() -> None:
    planted()  # before what follows
    import deepspeed  # noqa: F401 - as others, it adds to this process's environment
    import transformers.modeling_utils  # noqa: F401

    for _ in range(2):  # Ray adds to it, too
        with local_ray(cpus=1):
            loaded, nice = ray.get(ray.remote(_seen).remote())
            assert {"torch", "transformers", "peft", "deepspeed", "evaluators.evaluator"} <= loaded
            assert "bitsandbytes" not in loaded
            assert nice == os.nice(0)
            started = [one.cmdline()[1:2] for one in psutil.Process().children(recursive=True)]
            assert started.count([str(ATTEND)]) == 2, started


def _seen() -> tuple[set[str], int]:
    import os
    import sys

    return {name for name, module in sys.modules.items() if module is not None}, os.nice(0)
