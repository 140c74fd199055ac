"""Signs of life of a process's work: whoever does work says here that it has come a step further.

A step is a batch, a micro-batch, a part of a file: what takes seconds. Who runs the process listens, so that one that
lives and does nothing can be told from one that takes long. Nobody else beats: no thread goes on by itself while the
work stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

LOADING: Final = "loading"  # imports, a base model, tokenising: minutes may pass without a step
WORKING: Final = "working"


@dataclass(frozen=True)
class Reached:
    """How far work has come: so many of its units (a half of one is half done) in so many seconds, without loading."""

    units: float
    seconds: float


Listener = Callable[[str | None, Reached | None], None]
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Have a function told of each beat from now on, with the stage of work that it says it is in, in any thread."""
    _listeners[:] = [listener]


def beat(stage: str | None = None, reached: Reached | None = None) -> None:
    """The work of this process has come a step further: in this stage, or in the one that it was in; and how far."""
    for listener in _listeners:
        listener(stage, reached)


@contextmanager
def loading() -> Iterator[None]:
    """Within, work that was under way loads something first, and its steps are those of loading."""
    beat(LOADING)
    try:
        yield
    finally:
        beat()
        beat(WORKING)
