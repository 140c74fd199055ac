"""The process that workers are forks of: `python -m tests.support.forks.stem SOCKET`, until its standard input ends.

It imports torch, transformers, PEFT, DeepSpeed, lm-eval and the project's own code once, and nothing of Ray, which
reads its environment when it is imported. `shoot.py` asks it for a fork, with the arguments, environment, folder and
files of the process that Ray has started; it answers with the fork's number and, when that has ended, with its exit
code. A fork whose asker is gone is killed. There is no fork where a variable differs that these imports have read.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import random
import runpy
import selectors
import signal
import socket
import struct
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

READ_BY_IMPORTS = ("HF_", "HUGGINGFACE", "TRANSFORMERS", "TORCH", "PYTORCH", "OMP", "MKL", "KMP", "LD_", "DS_", "CUDA")
READ_BY_IMPORTS += ("XDG", "PYTHON", "MALLOC", "NCCL", "GLOO", "OPENBLAS")
READ_AGAIN = {"HF_DATASETS_CACHE", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONBREAKPOINT"}
FILES = 3
HANDSHAKE_S = 10.0
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>: forks end with the stem
_at_start = dict(os.environ)  # imports add to it, in every process


def main(path: str) -> None:
    """Serve at this socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as door, selectors.DefaultSelector() as waits:
        door.bind(path)
        door.listen(64)
        import evaluators.evaluator  # noqa: F401
        import trainers.worker  # noqa: F401

        alarm, ring = socket.socketpair()
        for end in (alarm, ring):
            end.setblocking(False)
        signal.set_wakeup_fd(ring.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for read in (door, alarm, sys.stdin):
            waits.register(read, selectors.EVENT_READ)
        askers: dict[socket.socket, int] = {}
        while True:
            for key, _ in waits.select():
                match key.fileobj:
                    case one if one is sys.stdin:
                        return
                    case one if one is alarm:
                        alarm.recv(4096)
                        _tell(askers, waits)
                    case one if one is door:
                        asker, _ = door.accept()
                        try:
                            number = _fork(asker, [door, alarm, ring, *askers])
                        except (OSError, ValueError):  # it has gone, or stands still: where it goes on, it gets none
                            asker.close()
                            continue
                        if number:
                            askers[asker] = number
                            waits.register(asker, selectors.EVENT_READ)
                    case asker if asker in askers:  # it says nothing more: this is its end
                        with suppress(ProcessLookupError):
                            os.kill(askers[asker], signal.SIGKILL)
                        waits.unregister(asker)


def _tell(askers: dict[socket.socket, int], waits: selectors.BaseSelector) -> None:
    """Tell those whose forks have ended with which code."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            asker = next((asker for asker, number in askers.items() if number == ended[0]), None)
            if asker is None:
                continue
            del askers[asker]
            with suppress(KeyError):
                waits.unregister(asker)
            with suppress(OSError):
                asker.sendall(f"{os.waitstatus_to_exitcode(ended[1])}\n".encode())
            asker.close()


def _fork(asker: socket.socket, open_here: list[socket.socket]) -> int:
    """Returns the number of the process that this asker gets, 0 where it gets none; OSError, ValueError without it."""
    asker.settimeout(HANDSHAKE_S)
    _, files, _, _ = socket.recv_fds(asker, 1, FILES)
    try:
        return _answer(asker, files, open_here)
    finally:
        for file in files:
            os.close(file)


def _answer(asker: socket.socket, files: list[int], open_here: list[socket.socket]) -> int:
    with asker.makefile("rb") as lines:
        asked = json.loads(lines.readline())
    peer, _, _ = struct.unpack("3i", asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    asked["memory"] = _memory_group(peer)
    if _differs(asked["environment"]):
        asker.sendall(b"0\n")
        asker.close()
        number = 0
    elif number := os.fork():
        try:
            asker.sendall(f"{number}\n".encode())
        except OSError:
            os.kill(number, signal.SIGKILL)
            raise
    else:
        _become(asked, files, [*open_here, asker])
    return number


def _memory_group(number: int) -> str:
    """Where a process's memory is counted, by control groups' first version; a fork's where its asker's is."""
    groups = (line.split(":", 2) for line in Path(f"/proc/{number}/cgroup").read_text().splitlines())
    return next((path for _, controllers, path in groups if controllers == "memory"), "/")


def _differs(environment: dict[str, str]) -> bool:
    """Whether a variable that imports read is neither what it was here nor what these imports have made of it."""
    names = {n for n in {*environment, *_at_start} if n.startswith(READ_BY_IMPORTS)} - READ_AGAIN
    return any(environment.get(name) not in (_at_start.get(name), os.environ.get(name)) for name in names)


def _become(asked: dict[str, Any], files: list[int], stems: list[socket.socket]) -> None:
    """Run what was asked for in this fork, and end it as Python ends a process."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for one in stems:
            one.close()
        if asked["memory"] != _memory_group(os.getpid()):
            Path(f"/sys/fs/cgroup/memory{asked['memory']}/cgroup.procs").write_text(str(os.getpid()))
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, asked["blocked"])
        added = {name: value for name, value in os.environ.items() if name not in _at_start}
        os.environ.clear()
        os.environ.update({**added, **asked["environment"]})
        os.chdir(asked["folder"])
        sys.stdin, sys.stdout, sys.stderr = (open(n, mode, closefd=False) for n, mode in enumerate("rww"))  # noqa: SIM115
        importlib.reload(sys.modules["datasets.config"])
        sys.modules["numpy"].random.seed(None)
        random.seed()
        sys.argv = asked["arguments"]
        more = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:1] = [str(Path(sys.argv[0]).parent), *filter(None, more)]
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - what Python does with it: the fork must not go on as the stem
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]  # what Python itself does at its end
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
