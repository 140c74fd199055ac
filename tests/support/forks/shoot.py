"""What Ray starts in place of its `setup_worker.py`: it asks the stem for a fork and lasts as long as that.

Ray takes its end for the worker's, and its death kills the fork. It calls itself by the fork's number (`fork 123`), by
which tests find the worker of a node. Where the stem cannot serve, the worker is started as Ray would start it.
"""

import json
import os
import signal
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

CONTEXT, LANGUAGE = "--serialized-runtime-env-context=", "--language="  # what is for `setup_worker.py` alone


def main():
    context = {}
    for argument in sys.argv[1:]:
        if argument.startswith(CONTEXT):
            context = json.loads(argument.removeprefix(CONTEXT))
    plain = context.get("py_executable", sys.executable) == sys.executable and not context.get("command_prefix")
    if not plain or not _grow(context.get("env_vars") or {}):
        setup = Path(find_spec("ray").origin).parent / "_private" / "workers" / "setup_worker.py"
        os.execv(sys.executable, [sys.executable, str(setup), *sys.argv[1:]])


def _grow(variables):
    """Whether there was a fork; it has ended then."""
    asked = {
        "arguments": [argument for argument in sys.argv[1:] if not argument.startswith((CONTEXT, LANGUAGE))],
        "environment": {**os.environ, **variables},
        "folder": os.getcwd(),
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    }
    with socket.socket(socket.AF_UNIX) as stem:
        try:
            stem.connect(os.environ["TEST_STEM"])
            socket.send_fds(stem, [b"."], [0, 1, 2])
            stem.sendall(json.dumps(asked).encode() + b"\n")
            answers = stem.makefile()
            number, *differing = (answers.readline() or "0").split()
        except (OSError, KeyError):
            return False
        if not int(number):
            print("no fork, for these differ:", *differing, file=sys.stderr)  # into the log of the worker
            return False
        with open("/proc/self/comm", "w") as name:
            name.write(f"fork {number}")
        code = int(answers.readline() or 1)
    os._exit(code if code >= 0 else 128 - code)


main()
