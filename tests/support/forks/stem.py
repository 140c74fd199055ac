"""The process that workers are forks of: `python -m tests.support.forks.stem SOCKET`, until its standard input ends.

It imports torch, transformers, PEFT, DeepSpeed, lm-eval and the project's own code once, and nothing of Ray, which
reads its environment when it is imported. All that it does then is to fork a keeper (keeper.py) for whoever connects:
what becomes of one worker reaches neither the stem nor another worker.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import socket
import sys
from select import select

from tests.support.forks import keeper


def main(path: str) -> None:
    """Serve at this socket."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen(64)
        import evaluators.evaluator  # noqa: F401
        import trainers.worker  # noqa: F401

        gc.freeze()  # a collection would write to pages that all forks share
        while door in select([door, sys.stdin], [], [])[0]:
            asker, _ = door.accept()
            with asker:
                if os.fork() == 0:
                    door.close()
                    keeper.keep(asker)


if __name__ == "__main__":
    main(sys.argv[1])
