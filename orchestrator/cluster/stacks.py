"""The end of a process that hangs: where each of its threads stands, read from outside, then SIGKILL.

It is done by a task on the process's own node, since the process itself may be frozen. Whatever of it cannot be done is
said in its place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
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


def end(actors: Sequence[Actor]) -> str:
    """Kill the processes of some actors; what was found out about them before, as a text."""
    states = [actor_states(actor._actor_id.hex()) for actor in actors]
    task = ray.remote(num_cpus=0, max_retries=0)(_end)
    found = []
    for state in states:
        if state.get("Pid"):
            place = NodeAffinitySchedulingStrategy(state["Address"]["NodeID"], soft=False)
            found.append(task.options(scheduling_strategy=place).remote(state["Pid"]))
    ready = ray.wait(found, num_returns=len(found), timeout=ANSWER_S)[0] if found else []
    texts = []
    for reference in ready:
        with suppress(RayError):  # a node that is lost meanwhile
            texts.append(str(ray.get(reference)))
    for actor in actors:
        kill(actor)
    if len(texts) < len(actors):
        texts.append(f"{len(actors) - len(texts)} of {len(actors)} processes could not be looked at")
    return "\n\n".join(texts)


def _end(pid: int) -> str:
    """Look at a process of this machine and kill it, if it is still Ray's."""
    with suppress(OSError):
        if not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(TITLE):
            return f"process {pid} was gone"
    text = f"{_state(pid)}\n{_stacks(pid)}"
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return text


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
