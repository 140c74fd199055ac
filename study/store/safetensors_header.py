"""The header of a safetensors file: what it says of its tensors, read without them and without torch.

8 bytes say how long the header is, then it follows as JSON (https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MOST = 100_000_000  # bytes of a header, as safetensors has it
_LENGTH = 8


@dataclass(frozen=True)
class Header:
    """`size` is that of the whole file in bytes; `metadata` is its writer's own."""

    size: int
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def header_end(start: bytes) -> int:
    """Find where the header ends by the first 8 bytes of a file. Raises ValueError for another kind of file."""
    length = int.from_bytes(start[:_LENGTH], "little")
    if len(start) < _LENGTH or length > MOST:
        raise ValueError(f"no header of a safetensors file: {start[:_LENGTH]!r}")
    return _LENGTH + length


def header_of(start: bytes) -> Header:
    """Parse a file's beginning: start[: header_end(start)] is enough of it. Raises ValueError."""
    end = header_end(start)
    try:
        read = json.loads(start[_LENGTH:end])
        metadata = {str(key): str(value) for key, value in read.pop("__metadata__", {}).items()}
        shapes = {str(name): tuple(map(int, tensor["shape"])) for name, tensor in read.items()}
        last = max((int(tensor["data_offsets"][1]) for tensor in read.values()), default=0)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"a header that is none of safetensors ({error!r})") from error
    return Header(end + last, shapes, metadata)


def header_in(file: Path) -> Header:
    """Read a file's header. Raises ValueError for another kind of file, and one not as long as its header says."""
    with file.open("rb") as source:
        start = source.read(_LENGTH)
        try:
            start += source.read(header_end(start) - _LENGTH)
            found = header_of(start)
        except ValueError as error:
            raise ValueError(f"{file.name} is no safetensors file ({error})") from error
    if file.stat().st_size != found.size:
        raise ValueError(f"{file.name} is truncated")
    return found
