"""Whether the kernel has killed for memory on a node: to Ray that looks like any other death of a process.

The kernel counts its kills. The count is read in a process before its work, and on the same node again when the process
has died over it. Where the process's cgroup has a count of its own, what else the machine runs is left out of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster.actors import Actor
from orchestrator.cluster.nodes import alive_nodes

Count = ray.ObjectRef[tuple[str, int]]  # refers to a node's id and how many the kernel has killed there
ANSWER_S = 5.0  # on a node that does not answer for so long, nothing can be found out


def kills(root: Path = Path("/")) -> int:
    """How many processes the kernel has killed for memory so far, by the first of its counters that there is."""
    for file in _counters(root):
        if found := re.search(r"^oom_kill (\d+)$", _text(file), re.MULTILINE):
            return int(found[1])
    return 0


def _counters(root: Path) -> Iterator[Path]:
    """That of this process's cgroup (version 1 or 2), then the machine's."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if controllers == "memory":
            yield root / f"sys/fs/cgroup/memory{path}/memory.oom_control"
        elif number == "0":
            yield root / f"sys/fs/cgroup{path}/memory.events"
    yield root / "proc/vmstat"


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def watch(actor: Actor) -> Count:
    """A reference to what an actor's node counts when the actor comes to it; no need to wait for it."""
    return actor.__ray_call__.remote(_read)


def struck(before: Iterable[Count]) -> bool:
    """Whether the kernel has killed on a node since one of these `watch`es; False where the node cannot be asked."""
    earlier = dict(_answers(list(before), 0.0))
    here = alive_nodes()
    read = ray.remote(num_cpus=0, max_retries=0)(_read)
    places = [NodeAffinitySchedulingStrategy(node, soft=False) for node in earlier if node in here]
    now = [read.options(scheduling_strategy=place).remote() for place in places]
    return any(count > earlier[node] for node, count in _answers(now, ANSWER_S))


def _read(*_: object) -> tuple[str, int]:
    return ray.get_runtime_context().get_node_id(), kills()


def _answers(references: list[Count], timeout_s: float) -> Iterator[tuple[str, int]]:
    if references:
        references, _ = ray.wait(references, num_returns=len(references), timeout=timeout_s)
    for reference in references:
        try:
            yield ray.get(reference)
        except RayError:  # it died before it could tell
            continue
