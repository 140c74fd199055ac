"""What runs, where, in which order, and again after a failure. The only package that knows Ray."""

import os

# Read when Ray is imported. Else whatever asks Ray for something after its end, a thread that outlives the run, say,
# starts a cluster of its own in the dying driver.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
