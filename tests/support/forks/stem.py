"""The process that others are forks of: `python -m tests.support.forks.stem FOLDER`, until its standard input ends.

It serves at two sockets in that folder. Behind `tests` it has imported what the parts of the tests and studies'
commands import: pytest, torch, transformers, PEFT, lm-eval and the project's own code. Behind `workers` DeepSpeed and
what trains are there, too. Ray, which reads its environment when it is imported, is behind neither; behind
`attendants` is what its own processes in Python import, and nothing else. All that it does then is to fork a keeper
(keeper.py) for whoever connects: what becomes of one fork reaches neither the stem nor another.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from select import select
from typing import NoReturn

from tests.support.forks import keeper

WORKERS, TESTS, ATTENDANTS = DOORS = "workers", "tests", "attendants"
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(folder: Path) -> None:
    """Serve at all sockets; who connects before its imports are done waits."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    doors = {name: _door(folder / name) for name in DOORS}
    if _parts(doors, ATTENDANTS):
        os.environ["RAY_AUTH_MODE"] = keeper.at_start["RAY_AUTH_MODE"] = "token"  # as Ray sets it for all it starts
        os.environ[keeper.AGENTS_ALONE] = "1"  # as a raylet for its agents
        logging.disable(logging.INFO)
        import ray._private.log_monitor
        import ray.autoscaler._private.monitor
        import ray.dashboard.agent
        import ray.dashboard.head  # noqa: F401
        from ray.dashboard import utils

        utils.get_all_modules(utils.DashboardAgentModule)  # which imports them
        logging.disable(logging.NOTSET)
        _serve(doors[ATTENDANTS])
    import evaluators.evaluator  # noqa: F401

    if _parts(doors, WORKERS):
        import trainers.worker  # noqa: F401

        _serve(doors[WORKERS])
    import polars  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401

    import orchestrator.command  # noqa: F401

    _serve(doors[TESTS])


def _parts(doors: dict[str, socket.socket], name: str) -> bool:
    """Fork one who is to serve at this socket alone, and dies with this process; true in the fork."""
    if os.fork():
        doors.pop(name).close()
        return False
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for other in doors.keys() - {name}:
        doors.pop(other).close()
    return True


def _door(path: Path) -> socket.socket:
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    door.listen(64)
    return door


def _serve(door: socket.socket) -> NoReturn:
    gc.freeze()  # a collection would write to pages that all forks share
    while door in select([door, sys.stdin], [], [])[0]:
        asker, _ = door.accept()
        with asker:
            if os.fork() == 0:
                door.close()
                keeper.keep(asker)
    sys.exit()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
