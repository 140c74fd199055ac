"""The end of processes that may hang: where each of their threads stands, read from outside, then SIGKILL.

It is done by a task on the process's own node, since the process itself may be frozen: it would not hear what Ray
asks of it. Whatever of it cannot be done is said in its place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import ray
from ray._private.state import actors as actor_states
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster.actors import Actor, kill

ANSWER_S = 30.0  # a node that takes longer is not waited for
DUMP_S = 20.0
TITLE = b"ray::"

Killing = ray.ObjectRef[str]


def end(actors: Sequence[Actor]) -> str:
    """Kill the processes of some actors; what was found out about all of them before, as a text."""
    texts = _answers(_on_their_nodes(_look, processes(actors)))
    wait(remove(actors))
    if len(texts) < len(actors):
        texts.append(f"{len(actors) - len(texts)} of {len(actors)} processes could not be looked at")
    return "\n\n".join(texts)


def processes(actors: Sequence[Actor]) -> list[tuple[str, int]]:
    """The node's id and the pid of each of some actors that has a process, as far as Ray knows."""
    states = [actor_states(actor._actor_id.hex()) for actor in actors]
    alive = [state for state in states if state.get("Pid") and state.get("State") != "DEAD"]
    return [(state["Address"]["NodeID"], state["Pid"]) for state in alive]


def remove(actors: Sequence[Actor]) -> list[Killing]:
    """Kill the processes of some actors; what is still to be done for that on other nodes."""
    found, here = processes(actors), ray.get_runtime_context().get_node_id()
    for actor in actors:
        kill(actor)
    for node, pid in found:
        if node == here:
            _kill(pid)
    return _on_their_nodes(_kill, [(node, pid) for node, pid in found if node != here])


def pending(killings: Sequence[Killing]) -> list[Killing]:
    """Those that are not done yet."""
    return ray.wait(list(killings), num_returns=len(killings), timeout=0)[1] if killings else []


def wait(killings: Sequence[Killing]) -> None:
    """Have them done, as far as their nodes answer."""
    _answers(killings)


def _on_their_nodes(do: Callable[[int], str], processes: Sequence[tuple[str, int]]) -> list[Killing]:
    """Have something done with each process (its node's id, its pid) where it is."""
    task = ray.remote(num_cpus=0, max_retries=0)(do)
    return [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(pid)
        for node, pid in processes
    ]


def _answers(begun: Sequence[Killing]) -> list[str]:
    """What it came to, where that is known."""
    answers = []
    for reference in ray.wait(list(begun), num_returns=len(begun), timeout=ANSWER_S)[0] if begun else []:
        with suppress(RayError):  # a node that is lost meanwhile
            answers.append(str(ray.get(reference)))
    return answers


def _look(pid: int) -> str:
    return f"{_state(pid)}\n{_stacks(pid)}" if _is_ours(pid) else f"process {pid} was gone"


def _kill(pid: int) -> str:
    with suppress(ProcessLookupError):
        if _is_ours(pid):
            os.kill(pid, signal.SIGKILL)
    return ""


def _is_ours(pid: int) -> bool:
    """Whether a process of this machine is still one of Ray's."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(TITLE)
    return False


def _state(pid: int) -> str:
    """What the kernel says of a process: running, asleep, stopped (T) or waiting for a disk (D), and in which call."""
    lines = [f"process {pid} on {os.uname().nodename}"]
    with suppress(OSError):
        told = Path(f"/proc/{pid}/status").read_text().splitlines()
        lines += [line for line in told if line.startswith(("State:", "VmRSS:", "Threads:"))]
        lines.append(f"waits in the kernel: {Path(f'/proc/{pid}/wchan').read_text()}")
    return "\n".join(lines)


def _stacks(pid: int) -> str:
    """What py-spy reads; it does not stop the process, since that fails with one that is stopped."""
    command = [str(Path(sys.executable).with_name("py-spy")), "dump", "--nonblocking", "--pid", str(pid)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DUMP_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no stacks: {error}"
    if done.returncode == 0:
        return done.stdout
    return f"no stacks: py-spy may not read the process (that needs root, or CAP_SYS_PTRACE): {done.stderr.strip()}"
