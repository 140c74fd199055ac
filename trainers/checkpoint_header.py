"""The header of a checkpoint's file, which can be read without the tensors, and without torch."""

from __future__ import annotations

import json
from typing import Any

VERSION = 1
MOST = 100_000_000  # bytes of a header, as safetensors has it


def header(data: bytes) -> dict[str, Any]:
    """What is said of a checkpoint at its start: data[: header_end(data)] is enough of it."""
    found: dict[str, Any] = json.loads(json.loads(data[8 : header_end(data)])["__metadata__"]["state"])
    return found


def header_end(data: bytes) -> int:
    """How many bytes the header takes, by the file's first 8 (https://huggingface.co/docs/safetensors, "Format").

    Raises ValueError where they are none of a safetensors file.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > MOST:
        raise ValueError(f"no header of a safetensors file: {data[:8]!r}")
    return 8 + size
