"""Asking a stem for a fork, and lasting as long as it: what the two scripts beside this one have in common.

They are run by path, by a Python that has imported nothing else.
"""

import json
import os
import signal
import socket
import sys

STEM = "TEST_STEM"  # the folder of its sockets
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def last(door, **asked):
    """Become the stand-in of a fork (`fork 123`, by which tests find it), and end as it does.

    Returns where the stem cannot serve: then nothing has been started. `asked` is what keeper.py reads.
    """
    asked |= {
        "folder": os.getcwd(),
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    }
    with socket.socket(socket.AF_UNIX) as stem:
        try:
            stem.connect(os.path.join(os.environ[STEM], door))
            socket.send_fds(stem, [b"."], [0, 1, 2])
            stem.sendall(json.dumps(asked).encode() + b"\n")
            answers = stem.makefile()
            number, *differing = (answers.readline() or "0").split()
        except (OSError, KeyError):
            return
        if not int(number):
            print("no fork, for these differ:", *differing, file=sys.stderr)  # into the log of a worker
            return
        for one in PASSED_ON:
            signal.signal(one, lambda sent, _: os.kill(int(number), sent))
        with open("/proc/self/comm", "w") as name:
            name.write(f"fork {number}")
        code = int(answers.readline() or 1)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
