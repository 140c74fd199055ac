"""Nodes whose workers are forks, wherever they are started: in this process, by `ray start`, by a study's command."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.patience import wait_long

SHOOT = Path(__file__).parent / "shoot.py"
MODULE = Path(__file__).parent / "module.py"
ATTEND = Path(__file__).parent / "attend.py"
STEM = "TEST_STEM"  # the folder of its sockets; tests/run.sh starts one for all its parts


def environment(whole: bool) -> dict[str, str]:
    """For a process whose `ray.init` may start a node: Ray calls the hook before. `whole`: with a dashboard."""
    return {**planted(), "RAY_RUNTIME_ENV_HOOK": f"{__name__}.{hook.__name__ if whole else lean_hook.__name__}"}


def hook(runtime_env: Any) -> Any:
    """Graft the nodes of this process, and leave the runtime environment as it is."""
    graft()
    return runtime_env


def lean_hook(runtime_env: Any) -> Any:
    """The same, and no node has a dashboard or a monitor of the autoscaler: half of what it takes to start."""
    from ray._private.node import Node

    graft()
    for part in ("start_api_server", "start_monitor"):
        setattr(Node, part, _nothing)
    return runtime_env


def _nothing(*_: Any, **__: Any) -> None:
    pass


def graft() -> None:
    """From now on this process starts nodes with forks for workers, and waits for them as a busy machine needs it.

    Not where there are GPUs: a fork cannot use what its stem may have begun to.
    """
    wait_long()
    if Path("/proc/driver/nvidia").exists():
        return
    from ray._private import services
    from ray._private.node import Node

    os.environ.update(planted())
    start, start_process = Node.__init__, services.start_ray_process
    if start.__module__ == __name__:
        return

    def grafted(node: Node, ray_params: Any, *arguments: Any, **options: Any) -> None:
        ray_params.update_if_absent(setup_worker_path=str(SHOOT))
        start(node, ray_params, *arguments, **options)

    def attended(command: list[str], *arguments: Any, **options: Any) -> Any:
        if command[:2] == [sys.executable, "-u"]:
            command = [sys.executable, str(ATTEND), *command[2:]]
        return start_process(command, *arguments, **options)

    grafted.__module__ = __name__
    Node.__init__ = grafted
    services.start_ray_process = attended
    services._build_python_executable_command_memory_profileable = lambda *_, **__: [sys.executable, str(ATTEND)]


def planted() -> dict[str, str]:
    """The folder of the stem's sockets; starts a stem where none is, which ends with this process."""
    if STEM not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="stem", dir="/tmp")
        atexit.register(folder.cleanup)
        os.environ[STEM] = folder.name
        command = [sys.executable, "-m", "tests.support.forks.stem", folder.name]
        stem = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[3])
        while len(list(Path(folder.name).iterdir())) < 3:
            assert stem.poll() is None
            time.sleep(0.1)
    return {STEM: os.environ[STEM]}


def command(module: str, *arguments: str) -> list[str]:
    """`python -m MODULE ARGUMENTS` as a fork that has its imports done."""
    return [sys.executable, str(MODULE), module, *arguments]


def person(pid: int) -> int:
    """The number of the fork for which this process stands, if it stands for one."""
    first, *more = psutil.Process(pid).name().split()
    return int(more[0]) if first == "fork" else pid


def family(process: psutil.Process) -> list[psutil.Process]:
    """The processes below this one, with those for which some of them, or itself, stand; a stem is nobody's family."""
    found = []
    with suppress(psutil.NoSuchProcess):
        if (number := person(process.pid)) != process.pid:
            worker = psutil.Process(number)
            return [worker, *family(worker)]
        for child in process.children():
            with suppress(psutil.NoSuchProcess):
                if "tests.support.forks.stem" not in child.cmdline():
                    found += [child, *family(child)]
    return found


if __name__ == "__main__":
    from ray.scripts.scripts import main

    graft()
    main()
