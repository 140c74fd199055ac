"""The process that others are forks of: `python -m tests.support.forks.stem FOLDER`, until its standard input ends.

It serves at two sockets in that folder. Behind `tests` it has imported what the parts of the tests and studies'
commands import: pytest, torch, transformers, PEFT, lm-eval and the project's own code. Behind `workers` DeepSpeed and
what trains are there, too. Ray, which reads its environment when it is imported, is behind neither. All that it
does then is to fork a keeper (keeper.py) for whoever connects: what becomes of one fork reaches neither the stem nor
another.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import signal
import socket
import sys
from pathlib import Path
from select import select

from tests.support.forks import keeper

WORKERS, TESTS = "workers", "tests"
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(folder: Path) -> None:
    """Serve at both sockets; who connects before its imports are done waits."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    workers, tests = (_door(folder / name) for name in (WORKERS, TESTS))
    import evaluators.evaluator  # noqa: F401

    if os.fork() == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        tests.close()
        import trainers.worker  # noqa: F401

        _serve(workers)
    else:
        workers.close()
        import polars  # noqa: F401
        import pytest  # noqa: F401
        import scipy.stats  # noqa: F401

        import orchestrator.command  # noqa: F401

        _serve(tests)


def _door(path: Path) -> socket.socket:
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    door.listen(64)
    return door


def _serve(door: socket.socket) -> None:
    gc.freeze()  # a collection would write to pages that all forks share
    while door in select([door, sys.stdin], [], [])[0]:
        asker, _ = door.accept()
        with asker:
            if os.fork() == 0:
                door.close()
                keeper.keep(asker)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
