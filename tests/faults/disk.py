"""A small disk that can be filled or made read-only, for a store: a tmpfs of its own, which only root may mount."""

from __future__ import annotations

import subprocess
from pathlib import Path

SIZE_MB = 16


class Disk:
    def __init__(self, where: Path, size_mb: int = SIZE_MB) -> None:
        """Mount it. Raises PermissionError where that is not allowed."""
        self.where = where
        where.mkdir(parents=True)
        self._mount("-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs")

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

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.where)], check=True)

    def _mount(self, *arguments: str) -> None:
        done = subprocess.run(["mount", *arguments, str(self.where)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PermissionError(done.stderr.strip())
