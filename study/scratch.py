"""Scratch: folders in this machine's temporary space that do not stay when their process is killed.

A killed process cannot tidy up after itself. It holds a lock on its folder for as long as it lives, so that the next
one that asks for scratch can remove what nobody holds any more.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError

PREFIX = "crosscells-"
LOCK = ".lock"


@contextmanager
def scratch() -> Iterator[Path]:
    """Make an empty folder for a while. Its process removes it, or where that was killed the next one that asks."""
    _tidy()
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
    folder = made.with_name(made.name.removeprefix("."))
    try:
        with open(made / LOCK, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made.rename(folder)  # from now on it can be taken for a dead one's, and is locked
            files = folder / "files"
            files.mkdir()
            yield files
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _tidy() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError), _own_lock(folder) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while its process lives
            shutil.rmtree(folder, ignore_errors=True)


def _own_lock(folder: Path) -> BinaryIO:
    """The lock of a folder of ours. Raises OSError for what is another user's, a link, a pipe, or gone meanwhile.

    Anybody may put anything into the temporary space: it is opened without following a link or waiting for a writer.
    """
    lock = os.fdopen(os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    files = folder.lstat(), os.fstat(lock.fileno())
    if not stat.S_ISDIR(files[0].st_mode) or not stat.S_ISREG(files[1].st_mode):
        lock.close()
        raise FileNotFoundError(folder)
    if any(one.st_uid != os.getuid() for one in files):
        lock.close()
        raise PermissionError(folder)
    return lock


@contextmanager
def os_errors() -> Iterator[None]:
    """Raise OSError for what the operating system refused: safetensors has one error for everything."""
    try:
        yield
    except SafetensorError as error:
        refused = re.search(r"\(os error (\d+)\)", str(error))
        if refused is None:
            raise
        raise OSError(int(refused[1]), os.strerror(int(refused[1]))) from error
