"""The tests of `on_device`, in a process of their own: a device must be there before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.tiny_world import REPOSITORY

ON_DEVICE = ["-m", "pytest", "-p", "tests.device.fake", "-q", "tests/device/on_device", "-m"]


def test_everything_runs_on_a_device_and_waits_for_nothing_within() -> None:
    command, own = [sys.executable, *ON_DEVICE, "not long"], {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=REPOSITORY, env=own, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
