"""Writing safetensors to a disk that may refuse it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError


@contextmanager
def os_errors() -> Iterator[None]:
    """Raise what the operating system refused as an OSError: safetensors has an error of its own for all there is."""
    try:
        yield
    except SafetensorError as error:
        refused = re.search(r"\(os error (\d+)\)", str(error))
        if refused is None:
            raise
        raise OSError(int(refused[1]), os.strerror(int(refused[1]))) from error
