"""A process whose main thread waits for what does not answer ends all the same, once it is asked to."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from study.store import lease
from study.store.lease import Lease, holder
from study.store.store import Store
from tests.support.tiny_world import REPOSITORY

STUCK = """
import ctypes, signal
from study.ending import end_by_signal
from study.store.lost import stopper
stopper()
signal.signal(signal.SIGTERM, signal.default_int_handler)
end_by_signal(0.5)
lock, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
while True:
    try:
        print("stuck", flush=True)
        libc.pthread_mutex_lock(lock)  # from the second on as in the kernel, waiting for a disk: no handler runs
    except BaseException:  # it was asked too soon
        continue
"""


@pytest.mark.processes
def test_a_signal_ends_who_waits_for_a_frozen_store() -> None:
    """Ctrl-C while a study was planned from such a store did nothing, for as long as it was frozen."""
    codes = {signal.SIGINT: 130, signal.SIGTERM: 130, signal.SIGUSR1: 1}
    stuck = [
        subprocess.Popen([sys.executable, "-c", STUCK], cwd=REPOSITORY, stdout=-1, stderr=-1, text=True) for _ in codes
    ]
    try:
        for number, process in zip(codes, stuck, strict=True):
            assert process.stdout is not None
            assert process.stdout.readline() == "stuck\n"
            process.send_signal(number)
        for number, process in zip(codes, stuck, strict=True):
            told = process.communicate(timeout=60)[1]
            assert process.returncode == codes[number]
            assert told == f"{number.name}: ended without waiting any longer for what does not answer\n"
    finally:
        for process in stuck:
            process.kill()


class Frozen(Store):
    """Owes an answer to who lists it, until it thaws."""

    thawed: threading.Event | None = None

    def files(self, folder: str, suffix: str, recursive: bool = False) -> list[str]:
        if self.thawed is not None:
            self.thawed.wait()
        return super().files(folder, suffix, recursive)


def test_a_lease_that_cannot_be_given_back_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "GIVE_BACK_S", 0.2)
    store = Frozen(str(tmp_path))
    with Lease(store, print) as held:
        store.thawed = threading.Event()
        assert held.asked is None
    assert holder(Store(str(tmp_path))) is not None
    (waiting,) = [one for one in threading.enumerate() if one.name == "end of the lease"]
    store.thawed.set()
    waiting.join(30)
    assert holder(store) is None
