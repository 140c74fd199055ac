"""`python …/attend.py SCRIPT ARGUMENTS`, for a script of Ray's own beside its nodes: a fork that has its imports done.

Where the stem cannot serve, it becomes the script itself.
"""

import os
import sys

from asking import last

environment = dict(os.environ)
if "jemalloc" in environment.get("LD_PRELOAD", ""):  # another allocator, which Ray gives its own
    del environment["LD_PRELOAD"]
last("attendants", arguments=sys.argv[1:], environment=environment)
os.execv(sys.executable, [sys.executable, "-u", *sys.argv[1:]])
