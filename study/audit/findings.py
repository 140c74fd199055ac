"""What a check of a store finds: problems, notes and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Problem:
    """Something wrong with a file. `remedy` says how it is repaired, `repair` does it (None: a person has to)."""

    file: str
    what: str
    remedy: str
    repair: Callable[[], None] | None


@dataclass
class Findings:
    """What a check has found. `notes` are worth knowing but are no problems."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, file: str, what: str, remedy: str, repair: Callable[[], None] | None) -> None:
        self.problems.append(Problem(file, what, remedy, repair))
