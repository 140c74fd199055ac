"""The header of a checkpoint's file, which can be read without the tensors, and without torch."""

from __future__ import annotations

import json
from typing import Any

VERSION = 1


def header(data: bytes) -> dict[str, Any]:
    """What is said of a checkpoint at its start: data[: header_end(data)] is enough of it."""
    found: dict[str, Any] = json.loads(json.loads(data[8 : header_end(data)])["__metadata__"]["state"])
    return found


def header_end(data: bytes) -> int:
    """How many bytes the header takes, by the file's first 8 (https://huggingface.co/docs/safetensors, "Format")."""
    return 8 + int.from_bytes(data[:8], "little")
