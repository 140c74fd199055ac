"""What Ray starts in place of its `setup_worker.py`: it asks the stem for a fork and lasts as long as that.

Ray takes its end for the worker's, and its death kills the fork. Where the stem cannot serve, the worker is started as
Ray would start it.
"""

import json
import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from asking import last

CONTEXT, LANGUAGE = "--serialized-runtime-env-context=", "--language="  # what is for `setup_worker.py` alone


def main():
    context = {}
    for argument in sys.argv[1:]:
        if argument.startswith(CONTEXT):
            context = json.loads(argument.removeprefix(CONTEXT))
    prefix = context.get("command_prefix") or []
    if prefix[:1] + prefix[2:] == ["cd", "&&"]:  # into the folder that a job has brought
        os.chdir(*shlex.split(prefix[1]))
        prefix = []
    if context.get("py_executable", sys.executable) == sys.executable and not prefix:
        arguments = [argument for argument in sys.argv[1:] if not argument.startswith((CONTEXT, LANGUAGE))]
        last("workers", arguments=arguments, environment={**os.environ, **(context.get("env_vars") or {})})
    setup = Path(find_spec("ray").origin).parent / "_private" / "workers" / "setup_worker.py"
    os.execv(sys.executable, [sys.executable, str(setup), *sys.argv[1:]])


main()
