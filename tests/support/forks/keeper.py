"""The process between a stem and one fork: it answers who asked for it, and ends with the fork.

It is asked by shoot.py or module.py, with the arguments, environment, folder and files of the process that stands for
the fork, answers with the fork's number and, when that has ended, with its exit code. It kills the fork when the asker
has gone, and the fork dies with it. There is none where a variable differs that the stem's imports have read.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import random
import runpy
import signal
import socket
import struct
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from select import select
from typing import Any

from tests.support import traps

READ_BY_IMPORTS = ("HF_", "HUGGINGFACE", "TRANSFORMERS", "TORCH", "PYTORCH", "OMP", "MKL", "KMP", "LD_", "CUDA")
READ_BY_IMPORTS += ("XDG", "PYTHON", "MALLOC", "NCCL", "GLOO", "OPENBLAS")
READ_BY_RAY = ("RAY_", "LD_", "PYTHON", "MALLOC")
AGENTS_ALONE = "RAY_enable_pipe_based_agent_to_parent_health_check"  # stem.py sets it for all
READ_LATER = {"RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH", "RAY_CLIENT_MODE", "RAY_ENABLE_AUTO_CONNECT", "RAY_NODE_ID"}
READ_LATER |= {"RAY_LD_PRELOAD_ON_WORKERS", "RAY_RAYLET_PID", "RAY_RUNTIME_ENV_HOOK", "RAY_TMPDIR"}
READ_LATER |= {"RAY_USAGE_STATS_ENABLED", "RAY_enable_autoscaler_v2"}
READ_LATER |= {AGENTS_ALONE, "RAY_worker_niceness", "RAY_AIR_NEW_OUTPUT", "GLOO_SOCKET_IFNAME"}
READ_LATER |= {"HF_DATASETS_CACHE", "HF_TOKEN", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONBREAKPOINT"}
READ_LATER |= {"PYTORCH_NVML_BASED_CUDA_CHECK", "TORCHINDUCTOR_CACHE_DIR"}  # of a worker, for a job that it starts
READ_LATER |= {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}  # which sklearn and torch set for all that they start
STEM, REFUSED = "TEST_STEM", "refused"  # its folder, and in it what kept a process from being a fork, a line each
FILES = 3
HANDSHAKE_S = 60.0
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
at_start = dict(os.environ)  # imports add to it, in every process


def keep(asker: socket.socket) -> None:
    """Serve this asker, and end this process."""
    code = 0
    try:
        os.setpgid(0, 0)  # what others send to a group is not for it
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        asker.settimeout(HANDSHAKE_S)
        _, files, _, _ = socket.recv_fds(asker, 1, FILES)
        with asker.makefile("rb") as lines:
            asked = json.loads(lines.readline())
        if differs := _differing(asked["environment"]):
            with open(Path(asked["environment"][STEM]) / REFUSED, "a") as told:
                told.write(f"{' '.join(differs)}\n")
            asker.sendall(f"0 {' '.join(differs)}\n".encode())
        elif worker := os.fork():
            for file in files:
                os.close(file)
            _last(asker, worker)
        else:
            asked["memory"] = _memory_group(_peer(asker))
            asker.close()
            code = _become(asked, files)
    except (OSError, ValueError):  # the asker has gone, or stands still: where it goes on, it gets none
        pass
    finally:
        os._exit(code)


def _last(asker: socket.socket, worker: int) -> None:
    """As long as both: tell the worker's number and exit code, or kill it when its asker has gone."""
    ends = os.pidfd_open(worker)
    try:
        asker.sendall(f"{worker}\n".encode())
        gone, _, _ = select([asker, ends], [], [])
    except OSError:
        gone = [asker]
    if ends not in gone:
        os.kill(worker, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    with suppress(OSError):
        asker.sendall(f"{code}\n".encode())


def _peer(asker: socket.socket) -> int:
    number, _, _ = struct.unpack("3i", asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return number


def _memory_group(number: int) -> str:
    """Where a process's memory is counted, by control groups' first version; a worker's where its asker's is."""
    groups = (line.split(":", 2) for line in Path(f"/proc/{number}/cgroup").read_text().splitlines())
    return next((path for _, controllers, path in groups if controllers == "memory"), "/")


def _differing(environment: dict[str, str]) -> list[str]:
    """Which variables that imports read are neither what they were here nor what these imports have made of them."""
    read = READ_BY_RAY if "ray" in sys.modules else READ_BY_IMPORTS
    read += ("DS_",) if "deepspeed" in sys.modules else ()
    names = {n for n in {*environment, *at_start} if n.startswith(read)} - READ_LATER
    return [name for name in names if environment.get(name) not in (at_start.get(name), os.environ.get(name))]


def _become(asked: dict[str, Any], files: list[int]) -> int:
    """Run what was asked for in this process, as Python would to its end; returns the exit code."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setpgid(0, 0)  # which Ray ends when the worker has gone
        if asked["memory"] != _memory_group(os.getpid()):
            Path(f"/sys/fs/cgroup/memory{asked['memory']}/cgroup.procs").write_text(str(os.getpid()))
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, asked["blocked"])
        added = {name: value for name, value in os.environ.items() if name not in at_start}
        os.environ.clear()
        os.environ.update({**added, **asked["environment"]})
        os.chdir(asked["folder"])
        sys.stdin, sys.stdout, sys.stderr = (open(n, m, m == "w" or -1, closefd=False) for n, m in enumerate("rww"))  # noqa: SIM115
        if "datasets" in sys.modules:
            importlib.reload(sys.modules["datasets.config"])
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(None)
        random.seed()
        sys.argv = asked["arguments"]
        if folder := asked["environment"].get(traps.FOLDER):
            traps.watch(Path(folder))
        if "ray" in sys.modules:
            sys.modules["ray"]._raylet.setproctitle(Path(sys.argv[0]).name)
        more = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
        module = asked.get("module")
        sys.path[:1] = [asked["folder"] if module else str(Path(sys.argv[0]).parent), *filter(None, more)]
        if module:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - what Python does with it: the worker must not go on as what it was
        traceback.print_exc()
        return 1
    finally:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]  # what Python itself does at its end
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
