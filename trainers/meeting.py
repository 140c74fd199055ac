"""Where the processes of a group meet: a value that passes between them, and needs no torch to be read."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Meeting:
    """Rank 0 listens at host and port. The word keeps groups apart, and who guesses keys; who lists them reads it."""

    host: str
    port: int
    secret: str = field(repr=False)
