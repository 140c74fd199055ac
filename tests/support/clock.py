"""Clocks of the day that are set: `clock.cpp`, which is loaded before libc, and a file that says by how much."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".cpp")


class Clock:
    """What processes with this `environment` take for the time of the day; other clocks are as they are. Needs g++."""

    def __init__(self, folder: Path) -> None:
        library, self._file = folder / "clock.so", folder / "clock"
        self.set_ahead(0)
        subprocess.run(["g++", "-O1", "-shared", "-fPIC", str(SOURCE), "-o", str(library), "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "TEST_CLOCK": str(self._file)}

    def set_ahead(self, seconds: int) -> None:
        """Set it, from one moment to the next: as many seconds ahead of the machine's, or behind it."""
        with self._file.open("r+b" if self._file.exists() else "wb") as out:
            out.write(struct.pack("q", seconds))
