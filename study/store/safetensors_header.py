"""The header of a safetensors file: what it says of its tensors, read without them and without torch.

8 bytes say how long the header is, then it follows as JSON (https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from study.bounded import read_json

MOST = 100_000_000  # bytes of a header, as safetensors has it
MOST_NUMBER = 1 << 63
_LENGTH = 8
_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "C64": 64}  # of a number; of the others, as the name says
_BITS |= {f"{kind}{bits}": bits for kind in ("U", "I", "F", "BF") for bits in (8, 16, 32, 64)}


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
    read = read_json(start[_LENGTH:end])
    if not isinstance(read, dict):
        raise ValueError("a header that is none of safetensors: it is no mapping")
    metadata = read.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise ValueError("a header that is none of safetensors: its metadata are no mapping")
    tensors = {name: _tensor(name, stated) for name, stated in read.items()}
    last = max((ends for _, ends in tensors.values()), default=0)
    shapes = {name: shape for name, (shape, _) in tensors.items()}
    return Header(end + last, shapes, {str(key): str(value) for key, value in metadata.items()})


def _tensor(name: str, stated: object) -> tuple[tuple[int, ...], int]:
    """The shape of a tensor, and where its bytes end. Raises ValueError, also where it does not fill its place."""
    found = stated if isinstance(stated, dict) else {}
    shape, place = (_numbers(found.get(key)) for key in ("shape", "data_offsets"))
    if shape is None or place is None or len(place) != 2 or place[0] > place[1]:
        raise ValueError(f"a header that is none of safetensors: {name[:80]!r} has no shape or no place")
    dtype = str(found.get("dtype"))[:20]
    bits = _BITS.get(dtype if dtype in _BITS else dtype.partition("_")[0])
    if bits is None or math.prod(shape) * bits != 8 * (place[1] - place[0]):
        many = f"{place[1] - place[0]:,} bytes of {dtype}"
        raise ValueError(f"a header that is none of safetensors: {name[:80]!r} is not of its shape in {many}")
    return shape, place[1]


def _numbers(stated: object) -> tuple[int, ...] | None:
    is_list = isinstance(stated, list) and all(type(one) is int and 0 <= one < MOST_NUMBER for one in stated)
    return tuple(stated) if is_list and isinstance(stated, list) else None


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
