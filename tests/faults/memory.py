"""A memory limit that the kernel itself enforces: a control group (version 1), which only root may make."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CONTROL = Path("/sys/fs/cgroup/memory")


@contextmanager
def limited(pids: Iterable[int], most: int) -> Iterator[None]:
    """Processes and those that they will start get `most` bytes together, of what they take from now on.

    Raises PermissionError where that is not allowed.
    """
    group = CONTROL / f"crosscells-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
    except OSError as error:
        raise PermissionError(f"no control group for memory: {error}") from error
    try:
        (group / "memory.limit_in_bytes").write_text(str(most))
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
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
