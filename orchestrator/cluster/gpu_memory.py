"""How much memory the GPUs of a cluster have: NVIDIA's driver is asked on each node that has some."""

from __future__ import annotations

import subprocess
from contextlib import suppress

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster.nodes import alive_nodes

ASK = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")  # in MiB
ANSWER_S = 20.0  # for a process to start on a node, and to ask


def least_gpu() -> int | None:
    """Bytes of the smallest GPU that is there; None where there is none, or none that can be asked."""
    read = ray.remote(num_cpus=0, max_retries=0)(_read)
    places = [NodeAffinitySchedulingStrategy(node, soft=False) for node, has in alive_nodes().items() if has.get("GPU")]
    asked = [read.options(scheduling_strategy=place).remote() for place in places]
    answers, found = ray.wait(asked, num_returns=len(asked), timeout=ANSWER_S)[0] if asked else [], []
    for answer in answers:
        with suppress(RayError):  # a node that is lost while it is asked
            found += told(ray.get(answer))
    return min(found, default=None)


def told(text: str) -> list[int]:
    """Bytes of each GPU, of what was answered; of one of which the driver cannot tell, none."""
    return [int(line) << 20 for line in text.splitlines() if line.strip().isdigit()]


def _read() -> str:
    try:
        return subprocess.run(ASK, capture_output=True, text=True, timeout=ANSWER_S / 2, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
