"""The lease: one driver at a time, whatever becomes of the one before."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import psutil
import pytest
from psutil import _pslinux

from study.errors import ConfigError
from study.store.lease import Lease, holder
from study.store.store import Store
from tests.faults.disk import Disk

MANY = 8


def _hold(uri: str, held: Event, end: Event) -> None:
    with Lease(Store(uri), print):
        held.set()
        end.wait()


def _never(_: str) -> None:
    raise AssertionError("the lease was lost")


def _files(store: Store) -> list[str]:
    return store.files("lease", ".json")


@pytest.mark.processes
def test_the_second_is_told_who_holds_the_store_until_the_first_is_killed(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    held, end, store = spawn.Event(), spawn.Event(), Store(str(tmp_path))
    first = spawn.Process(target=_hold, args=(store.uri, held, end))
    first.start()
    assert held.wait(20)
    with pytest.raises(ConfigError, match=rf"is held by .*\(process {first.pid}\) since 20"), Lease(store, _never):
        pass
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    with Lease(store, _never):  # at once: its process is gone
        found = holder(store)
        assert found is not None
        assert found.pid == os.getpid()
    assert holder(store) is None  # given back
    assert len(_files(store)) == 1  # the hold before it is cleared away


def test_a_hold_from_elsewhere_ends_when_it_runs_out(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with Lease(store, _never):
        (file,) = _files(store)
        elsewhere = {**json.loads(store.read(file)), "machine": "another", "host": "elsewhere", "pid": 1}
    store.write(file, json.dumps({**elsewhere, "expires": time.time() + 60}).encode())
    with pytest.raises(ConfigError, match="on elsewhere"), Lease(store, _never):
        pass
    store.write(file, json.dumps({**elsewhere, "expires": time.time() - 1}).encode())
    with Lease(store, _never):
        assert holder(store) is not None


def test_a_pid_that_means_another_process_now_holds_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with Lease(store, _never):
        (file,) = _files(store)
        mine = json.loads(store.read(file))
    store.write(file, json.dumps({**mine, "process_started": 1.0, "expires": time.time() + 60}).encode())
    with Lease(store, _never):
        pass


def test_it_is_renewed_while_it_is_held_and_damage_holds_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("lease/00000003.json", b"{")
    with Lease(store, _never, hold_s=1.0, renew_s=0.05):
        time.sleep(1.5)
        found = holder(store)
        assert found is not None
        assert found.expires > time.time()


@pytest.mark.parametrize("how", ["taken", "gone"])
def test_who_loses_it_is_told(tmp_path: Path, how: str) -> None:
    store, lost, reasons = Store(str(tmp_path)), threading.Event(), []

    def on_lost(reason: str) -> None:
        reasons.append(reason)
        lost.set()

    with Lease(store, on_lost, renew_s=0.05):
        (file,) = _files(store)
        if how == "taken":
            other = {**json.loads(store.read(file)), "token": "other", "host": "elsewhere"}
            store.write("lease/00000002.json", json.dumps(other).encode())
        else:
            store.delete(file)
        assert lost.wait(20)
    assert reasons == [reasons[0]]
    assert ("elsewhere" if how == "taken" else "gone") in reasons[0]
    if how == "taken":
        assert holder(store) is not None  # what another holds is not given back


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with Disk(tmp_path / "disk") as found:
        yield found


@pytest.mark.processes
@pytest.mark.parametrize("set_back_s", [0, 3600])
def test_who_cannot_renew_it_is_told_when_it_has_run_out(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, set_back_s: int
) -> None:
    """The disk can be read and not written; whatever happens to the machine's clock."""
    store, lost, real = Store(str(disk.where / "store")), queue.SimpleQueue[str](), time.time
    with Lease(store, lost.put, hold_s=0.5, renew_s=0.05):
        disk.refuse()
        monkeypatch.setattr("time.time", lambda: real() - set_back_s)
        assert "could not be renewed" in lost.get(timeout=30)
    disk.mend()


@pytest.mark.processes
def test_a_disk_that_is_full_when_it_is_taken_is_told(disk: Disk) -> None:
    """One that had room a moment before, when that was looked at: the run ended in a traceback."""
    store = Store(str(disk.where / "store"))
    store.check_writable()
    disk.fill()
    with pytest.raises(ConfigError, match="No space left on device") as told, Lease(store, _never):
        pass
    assert told.value.key == "store"


@pytest.mark.parametrize("by_s", [3600, -3600])
def test_a_clock_that_jumps_takes_the_lease_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_s: int
) -> None:
    """An hour forth or back while it is renewed: the holder goes on, the next renewal tells the new time to others."""
    store, real = Store(str(tmp_path)), time.time
    with Lease(store, _never, renew_s=0.02):
        first = holder(store)
        assert first is not None
        monkeypatch.setattr("time.time", lambda: real() + by_s)
        while (now := holder(store)) is None or abs(now.expires - first.expires) < 1800:
            time.sleep(0.01)
        assert now.token == first.token
        with pytest.raises(ConfigError, match="is held by"), Lease(store, _never):
            pass
    monkeypatch.setattr("time.time", lambda: real() - 2 * abs(by_s))  # back from there, or on another machine
    (file,) = _files(store)
    given_back = {**json.loads(store.read(file)), "machine": "another"}
    store.write(file, json.dumps(given_back).encode())
    assert holder(store) is None


@pytest.mark.processes
def test_a_clock_that_is_set_makes_no_living_process_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's time of boot moves with it: a second driver took the store of a living one."""
    spawn = multiprocessing.get_context("fork")
    held, end, store, real = spawn.Event(), spawn.Event(), Store(str(tmp_path)), _pslinux.boot_time
    first = spawn.Process(target=_hold, args=(store.uri, held, end), daemon=True)
    first.start()
    assert held.wait(20)
    for module in (psutil, _pslinux):
        monkeypatch.setattr(module, "boot_time", lambda: real() - 3600)
    with pytest.raises(ConfigError, match=rf"\(process {first.pid}\)"), Lease(store, _never):
        pass
    end.set()
    first.join()


class Odd(Store):
    """A store whose answers are strange after a while."""

    asked = 0

    def files(self, folder: str, suffix: str, recursive: bool = False) -> list[str]:
        self.asked += 1
        if self.asked > 2:
            raise RuntimeError("strange")
        return super().files(folder, suffix, recursive)


def test_a_thread_that_cannot_go_on_ends_the_hold(tmp_path: Path) -> None:
    lost = queue.SimpleQueue[str]()
    store = Odd(str(tmp_path))
    lease = Lease(store, lost.put, hold_s=0.5, renew_s=0.05)
    lease.__enter__()
    assert "strange" in lost.get(timeout=30)


def test_a_file_that_is_no_lease_is_none(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("lease/notes.json", b"{}")
    with Lease(store, _never, renew_s=0.01):
        first = holder(store)
        assert first is not None
        while (now := holder(store)) is not None and now.expires == first.expires:
            time.sleep(0.01)
        assert now is not None


def _race(uri: str, start: Event, winners: list[int], refused: list[int]) -> None:
    start.wait()
    try:
        with Lease(Store(uri), print):
            winners.append(os.getpid())
            while len(winners) + len(refused) < MANY:
                time.sleep(0.02)
    except ConfigError:
        refused.append(os.getpid())


@pytest.mark.processes
def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        start, winners, refused = context.Event(), manager.list(), manager.list()
        processes = [context.Process(target=_race, args=(str(tmp_path), start, winners, refused)) for _ in range(MANY)]
        for process in processes:
            process.start()
        start.set()
        for process in processes:
            process.join()
        assert len(winners) == 1
