"""Places in the work of a cluster's processes at which one kills, by SIGKILL: itself, or the driver of its study.

A trap is a file in the folder that TEST_TRAPS names, called as its place; what it says is the number of the process to
kill, or 0 for the one that runs into it. It is sprung once, by whoever takes it away: what comes after goes on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = "TEST_TRAPS"


def _composed(unit: Any) -> bool:
    return type(unit.adapter).__name__ == "ComposedAdapter"


# module, name in it, how many calls go by before, and which calls count
PLACES: dict[str, tuple[str, str, int, Callable[..., bool]]] = {
    "kl": ("trainers.gang", "_Losses.keep_near", 1, lambda _, prompts: bool(prompts)),
    "search": ("evaluators.evaluator", "Evaluator._loss", 3, lambda *_: True),
    "lambda": ("evaluators.waves", "judged_unit", 0, lambda unit, *_: unit.target.held_out and _composed(unit)),
    "text": ("evaluators.waves", "judged_unit", 0, lambda unit, *_: unit.target.task == "prose"),
    "arrow": (
        *("evaluators.waves", "judged_unit", 0),
        lambda unit, *_: _composed(unit) and unit.adapter.composition.method == "arrow",
    ),
}


def lay(folder: Path, place: str, process: int = 0) -> None:
    """A trap at a place, that kills this process; without one, whoever runs into it."""
    written = folder / f"{place}.new"
    written.write_text(str(process))
    written.rename(folder / place)


def watch(folder: Path) -> None:
    """Have this process look for traps at every place whose module it has imported."""
    for place, (module, name, before, counts) in PLACES.items():
        if module in sys.modules:
            *outer, last = name.split(".")
            holder = getattr(sys.modules[module], outer[0]) if outer else sys.modules[module]
            setattr(holder, last, _trapped(getattr(holder, last), folder / place, before, counts))


def _trapped(work: Callable[..., Any], trap: Path, before: int, counts: Callable[..., bool]) -> Callable[..., Any]:
    calls = 0

    def trapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += counts(*arguments)
        if calls > before and trap.exists():
            _spring(trap)
        return work(*arguments, **named)

    return trapped


def _spring(trap: Path) -> None:
    sprung = trap.with_suffix(".sprung")
    try:
        trap.rename(sprung)
    except FileNotFoundError:  # another was faster
        return
    try:
        os.kill(int(sprung.read_text()) or os.getpid(), signal.SIGKILL)
    except ProcessLookupError:  # it has gone already: for the next
        sprung.rename(trap)
