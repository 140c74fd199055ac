"""A small disk that can be filled or made read-only, for a store: a tmpfs of its own, which only root may mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

SIZE_MB = 16


class Disk:
    """Mounted while a block runs; a test that needs one is skipped where mounting is not allowed."""

    def __init__(self, where: Path, size_mb: int = SIZE_MB) -> None:
        self.where, self._size_mb = where, size_mb

    def __enter__(self) -> Self:
        self.where.mkdir(parents=True)
        try:
            self._begin()
        except PermissionError as error:
            pytest.skip(f"a small disk needs a mount: {error}")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.where)], check=True)

    def fill(self) -> None:
        """Take all space that is left."""
        block = b"x" * 4096
        with (self.where / "filler").open("wb", buffering=0) as out:
            try:
                while out.write(block):
                    pass
            except OSError:
                return

    def refuse(self) -> None:
        """Make it read-only, as a kernel does after an I/O error; writers that hold a file open are cut off."""
        for _ in range(200):  # the mount is busy as long as somebody writes a file
            done = subprocess.run(["mount", "-o", "remount,ro", str(self.where)], capture_output=True, check=False)
            if done.returncode == 0:
                return
        raise RuntimeError(done.stderr)

    def mend(self) -> None:
        self._mount("-o", "remount,rw")
        (self.where / "filler").unlink(missing_ok=True)

    def _begin(self) -> None:
        self._mount("-t", "tmpfs", "-o", f"size={self._size_mb}m", "tmpfs")

    def _mount(self, *arguments: str) -> None:
        plain = {**os.environ, "LC_ALL": "C"}
        command = ["mount", *arguments, str(self.where)]
        done = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            denied = os.geteuid() != 0 or "permi" in done.stderr  # permission denied, operation not permitted
            raise (PermissionError if denied else OSError)(done.stderr.strip())


class FreezingDisk(Disk):
    """A small ext4 disk in a file, which can be frozen: who writes to it then waits, and not even SIGKILL ends that."""

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._file.unlink()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Frozen within; whoever waits for it, a driver too, cannot be ended before it is left."""
        subprocess.run(["fsfreeze", "--freeze", str(self.where)], check=True)
        try:
            yield
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(self.where)], check=True)

    @property
    def _file(self) -> Path:
        return self.where.with_suffix(".ext4")

    def _begin(self) -> None:
        with self._file.open("wb") as out:
            out.truncate(self._size_mb << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(self._file)], check=True)
        self._mount("-o", "loop", str(self._file))
