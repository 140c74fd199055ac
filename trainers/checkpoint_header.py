"""The header of a checkpoint's file, which can be read without the tensors, and without torch."""

from __future__ import annotations

import json
from typing import Any

from study.store.safetensors_header import header_of

VERSION = 1


def header(data: bytes) -> dict[str, Any]:
    """What is said of a checkpoint at its start: data[: header_end(data)] is enough of it. Raises ValueError."""
    found: dict[str, Any] = json.loads(header_of(data).metadata["state"])
    return found
