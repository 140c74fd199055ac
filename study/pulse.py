"""Signs of life of a process's work: whoever does work says here that it has come a step further.

A step is a batch, a micro-batch, a part of a file: what takes seconds. Who runs the process listens, so that one that
lives and does nothing can be told from one that takes long. Nobody else beats: no thread goes on by itself while the
work stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

LOADING: Final = "loading"  # imports, a base model, tokenising: minutes may pass without a step
WORKING: Final = "working"

Listener = Callable[[str | None], None]
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Have a function told of each beat from now on, with the stage of work that it says it is in, in any thread."""
    _listeners[:] = [listener]


def beat(stage: str | None = None) -> None:
    """The work of this process has come a step further: in this stage, or in the one that it was in."""
    for listener in _listeners:
        listener(stage)


@contextmanager
def loading() -> Iterator[None]:
    """Within, work that was under way loads something first, and its steps are those of loading."""
    beat(LOADING)
    try:
        yield
    finally:
        beat()
        beat(WORKING)
