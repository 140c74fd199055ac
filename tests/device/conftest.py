"""Tests of the fake device are collected where it is there: by `pytest -p tests.device.fake` (`make test-device`)."""

import sys

collect_ignore_glob = [] if "tests.device.fake" in sys.modules else ["on_device/*"]
