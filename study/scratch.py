"""Scratch: folders in this machine's temporary space that do not stay when their process is killed.

A killed process cannot tidy up after itself. It holds a lock on its folder for as long as it lives, so that the next
one that asks for scratch can remove what nobody holds any more.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
        with suppress(OSError), open(folder / LOCK) as lock:  # another user's, or gone meanwhile
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while its process lives
            shutil.rmtree(folder, ignore_errors=True)


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
