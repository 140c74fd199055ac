"""A memory limit that the kernel itself enforces: a control group (version 1), which only root may make."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.support.forks.graft import family

CONTROL = Path("/sys/fs/cgroup/memory")


@contextmanager
def limited(most: int) -> Iterator[None]:
    """This process's children, and those they will start, get `most` bytes together, of what they take from now on.

    Raises PermissionError where that is not allowed.
    """
    group = CONTROL / f"crosscells-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
    except OSError as error:
        raise PermissionError(f"no control group for memory: {error}") from error
    try:
        (group / "memory.limit_in_bytes").write_text(str(most))
        moved = set[int]()
        while new := {child.pid for child in family(psutil.Process())} - moved:
            for pid in new:  # one that a process starts before it is moved is found by the next look
                with suppress(ProcessLookupError):
                    (group / "cgroup.procs").write_text(str(pid))
            moved |= new
        yield
    finally:
        _empty(group)
        group.rmdir()


def _empty(group: Path) -> None:
    """Give its processes back; those that die meanwhile are gone by themselves."""
    deadline = time.monotonic() + 30
    while (pids := (group / "cgroup.procs").read_text().split()) and time.monotonic() < deadline:
        for pid in pids:
            try:
                (CONTROL / "cgroup.procs").write_text(pid)
            except ProcessLookupError:
                continue
