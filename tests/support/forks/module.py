"""`python …/module.py MODULE ARGUMENTS`: what `python -m MODULE ARGUMENTS` does, as a fork that has its imports done.

Signals are passed on, but for those that none can catch: SIGKILL ends the fork, too, and who stops it must ask for its
number (graft.person).
"""

import os
import sys

from asking import last

module, *arguments = sys.argv[1:]
last("tests", module=module, arguments=[module, *arguments], environment=dict(os.environ))
os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
