"""Bytes that come and go in pieces: each is a step of work, so that a large file is told from a frozen store."""

from __future__ import annotations

import io
from typing import Protocol

from study.pulse import beat

PIECE = 64 << 20  # bytes


class _In(Protocol):
    """A stream that is open for reading."""

    def read(self, size: int) -> bytes: ...


class _Out(Protocol):
    """A stream that is open for writing."""

    def write(self, data: memoryview) -> object: ...


def read(source: _In, size: int) -> bytes:
    """Read so many bytes, or as many as there are."""
    data = io.BytesIO()
    while (left := size - data.tell()) and (piece := source.read(min(PIECE, left))):
        data.write(piece)
        beat()
    return data.getvalue()


def write(out: _Out, data: bytes) -> None:
    for start in range(0, len(data), PIECE):
        out.write(memoryview(data)[start : start + PIECE])
        beat()
