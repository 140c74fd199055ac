"""What a check of a store finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Problem:
    """What is wrong with a file, and how it is repaired: the words, and what does it (None: by a person)."""

    file: str
    what: str
    remedy: str
    repair: Callable[[], None] | None


@dataclass
class Findings:
    """What a check has found. `notes` are worth knowing and no problem."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, file: str, what: str, remedy: str, repair: Callable[[], None] | None) -> None:
        self.problems.append(Problem(file, what, remedy, repair))
