"""The lease: one driver at a time works on a store.

`<store>/lease/<generation>.json` names the holder and when its hold ends. Who wants the store makes the next
generation, and may only when the newest one has been given back, has run out, or belongs to a process of this machine
that is gone. The holder renews its own generation; one that finds a newer generation, or another's name in its own, has
lost the lease.

Making a generation is atomic on local disks (a hard link that must not exist). Object stores are asked after a moment
whether what was written still stands: of two that meet there, the last writer holds the lease and the other finds out
at its next renewal, at the latest. Machines' clocks should agree to some seconds. How long its own hold is good for,
the holder tells by a clock that nobody sets and that goes on while the machine sleeps, from before it wrote that.
"""

from __future__ import annotations

import errno
import getpass
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from study.errors import ConfigError
from study.store.filesystem import trouble
from study.store.layout import LEASE, lease_file
from study.store.store import Store

HOLD_S, RENEW_S, GIVE_BACK_S = 60.0, 15.0, 10.0
SETTLE_S = 2.0  # how long two writers of an object store can overlap without the first one noticing


@dataclass(frozen=True)
class Holder:
    """Who holds a store. Times are seconds since the epoch, but for `process_started`, which its `machine` counts."""

    token: str
    user: str
    host: str
    machine: str
    pid: int
    process_started: float
    since: float
    expires: float

    def is_gone(self, now: float) -> bool:
        """Whether its hold has ended: it gave the lease back or let it run out, or its process is no more."""
        if now >= self.expires:
            return True
        if self.machine != _machine():
            return False
        try:
            told = (_began(process := psutil.Process(self.pid)), process.create_time())  # the last by an older release
            return all(abs(began - self.process_started) > 1.0 for began in told)
        except psutil.NoSuchProcess:
            return True

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).isoformat(" ", "seconds")
        return f"{self.user} on {self.host} (process {self.pid}) since {since}"


class Lease:
    """Holds a store while it is entered; calls `on_lost` from a thread when another takes it over."""

    def __init__(self, store: Store, on_lost: Callable[[str], None], hold_s: float = HOLD_S, renew_s: float = RENEW_S):
        self._store, self._on_lost, self._hold_s, self._renew_s = store, on_lost, hold_s, renew_s
        self._generation = 0
        self._mine: Holder | None = None
        self._good_until = 0.0  # by _clock
        self.asked: float | None = None  # when taking it, or the renewal, began that is under way, by time.monotonic
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        """Take the lease. Raises ConfigError (key `store`) when somebody holds it, or it cannot be written."""
        self.asked = time.monotonic()
        try:
            self._mine = self._take()
        except OSError as error:
            raise trouble(self._store.uri, error) from error
        self.asked = None
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def give_back(self) -> None:
        """End the hold, so that nobody need wait for it to run out, which it does where the store cannot be written."""
        self._end.set()
        if threading.current_thread() is self._thread:
            return
        self._thread.join(timeout=GIVE_BACK_S / 2)
        ending = threading.Thread(target=self._end_hold, name="end of the lease", daemon=True)  # may find it frozen
        ending.start()
        ending.join(timeout=GIVE_BACK_S)

    def _end_hold(self) -> None:
        mine, self._mine = self._mine, None
        try:
            held = holder(self._store)
            if mine is not None and held is not None and held.token == mine.token:
                self._store.write(lease_file(self._generation), _bytes(replace(mine, expires=0.0)))
        except OSError:
            return

    def _take(self) -> Holder:
        now, good_until = time.time(), _clock() + self._hold_s
        newest = _newest(self._store)
        held = _read(self._store, newest)
        if held is not None and not held.is_gone(now):
            raise held_by(self._store, held)
        self._generation = newest + 1
        mine = _myself(now, self._hold_s)
        if not self._create(mine):
            other = _read(self._store, self._generation)
            raise held_by(self._store, other or mine)
        for old in range(max(1, newest - 1), newest + 1):
            self._store.delete(lease_file(old))
        self._good_until = good_until
        return mine

    def _create(self, mine: Holder) -> bool:
        """Make the generation, and say whether it is this process's."""
        relative = lease_file(self._generation)
        if self._store.is_local:
            return _link(Path(self._store.path(relative)), _bytes(mine))
        self._store.write(relative, _bytes(mine))
        time.sleep(SETTLE_S)
        return _newest(self._store) == self._generation and _read(self._store, self._generation) == mine

    def _keep(self) -> None:
        """Renew until the end. A store that does not answer is asked again until the hold has run out."""
        while not self._end.wait(self._renew_s) and (mine := self._mine) is not None:
            self.asked = time.monotonic()
            try:
                if (problem := self._renewed(mine)) is None:
                    continue
            except Exception as error:  # noqa: BLE001 - whatever it is, a thread that ends by it renews nothing more
                if _clock() < self._good_until:
                    continue
                problem = f"the lease could not be renewed for {self._hold_s:.0f} s ({error!r})"
            finally:
                self.asked = None
            self._end.set()
            self._on_lost(problem)

    def _renewed(self, mine: Holder) -> str | None:
        """Renew once, or say who has the lease when it is not this process any more."""
        newest = _newest(self._store)
        found = _read(self._store, newest)
        if newest != self._generation or found is None or found.token != mine.token:
            return f"{found} has taken the store over" if found else "the store, or its lease, is gone"
        good_until, renewed = _clock() + self._hold_s, replace(mine, expires=time.time() + self._hold_s)
        self._store.write(lease_file(self._generation), _bytes(renewed))
        self._good_until, self._mine = good_until, renewed
        return None


def holder(store: Store) -> Holder | None:
    """Find who holds a store now, if anybody does."""
    newest = _read(store, _newest(store))
    return newest if newest is not None and not newest.is_gone(time.time()) else None


def held_by(store: Store, held: Holder) -> ConfigError:
    ends = datetime.fromtimestamp(held.expires, UTC).isoformat(" ", "seconds")
    return ConfigError(
        "store",
        store.uri,
        f"is held by {held}",
        f"wait until that run ends, or stop it; should its machine be gone, the hold ends by itself at {ends}",
    )


def _newest(store: Store) -> int:
    names = (name.rsplit("/", 1)[1].removesuffix(".json") for name in store.files(LEASE, ".json"))
    return max((int(name) for name in names if name.isdecimal()), default=0)


def _read(store: Store, generation: int) -> Holder | None:
    try:
        return Holder(**json.loads(store.read(lease_file(generation))))
    except (FileNotFoundError, ValueError, TypeError):  # none, or damaged: it holds nothing
        return None


def _bytes(held: Holder) -> bytes:
    return json.dumps(asdict(held), indent=1).encode()


def _link(final: Path, data: bytes) -> bool:
    """Make a file with all its content at once, unless it is there."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        os.link(temporary, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        with suppress(FileExistsError), final.open("xb") as out:  # a filesystem without hard links
            return out.write(data) > 0
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _myself(now: float, hold_s: float) -> Holder:
    process = psutil.Process()
    return Holder(
        token=uuid.uuid4().hex,
        user=getpass.getuser(),
        host=socket.gethostname(),
        machine=_machine(),
        pid=process.pid,
        process_started=_began(process),
        since=now,
        expires=now + hold_s,
    )


def _began(process: psutil.Process) -> float:
    """When a process began: on Linux since the boot, for its time of the day moves when the clock is set."""
    return float(process.create_time() - (psutil.boot_time() if psutil.LINUX else 0.0))


def _clock() -> float:
    """Count seconds since some moment, with those in which the machine slept where it can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _machine() -> str:
    """Name this boot of this host, and this process namespace of it: within it a pid means one process."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists() and namespace.is_symlink():
        return f"{socket.gethostname()} {boot.read_text().strip()} {os.readlink(namespace)}"
    return f"{socket.gethostname()} {psutil.boot_time():.0f}"
