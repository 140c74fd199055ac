"""Cells, sources and the four regimes that relate a source to a target.

A cell is a (task, language) pair, written `task/language`. A source is what one adapter is trained on:
one cell, or several trained together, in which case its task and language join the distinct parts with `+`. A sample
of a cell, for a learning curve, is a source of its own: `task/language@size`. So is a stage, which trains on from
another adapter, and one whose data are changed: `task/language@name`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Regime = Literal["MT-ML", "MT-CL", "CT-ML", "CT-CL"]
COMPOSED = "composed"  # no task can be called so: it is where combinations have theirs
REGIMES: tuple[Regime, ...] = ("MT-ML", "MT-CL", "CT-ML", "CT-CL")


@dataclass(frozen=True, order=True)
class Cell:
    """A (task, language) pair. As a target that is `held_out` it has the items on which a lambda is chosen."""

    task: str
    language: str
    held_out: bool = False

    def __str__(self) -> str:
        return f"{self.task}/{self.language}" + " (held out)" * self.held_out

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Read `task/language`; raises ValueError when there is not exactly one slash between two names."""
        task, slash, language = text.partition("/")
        if not (task and slash and language) or "/" in language:
            raise ValueError(f"{text!r} is not a cell; write task/language, e.g. arc_challenge/en")
        return cls(task, language)


@dataclass(frozen=True)
class Switch:
    """Words of a text that are replaced by those of another language: the file that tells them, and how many are.

    Of pairs the answers stay as they are, and of conversations what the assistant says, unless they are `answers`, too.
    """

    dictionary: str
    rate: float
    seed: int = 0
    answers: bool = False


@dataclass(frozen=True)
class Change:
    """How the data of a source are others than its cells' own: a translation's file, words that are switched.

    `shots` are the last of its cells, of each of which it has so many examples.
    """

    data: str | None = None
    switch: Switch | None = None
    shots: tuple[tuple[Cell, int], ...] = ()

    def __str__(self) -> str:
        told = [f"its data are {self.data}"] if self.data else []
        if (switch := self.switch) is not None:
            told.append(f"words are switched by {switch.dictionary} at a rate of {switch.rate:g}, seed {switch.seed}")
        return "; ".join([*told, *(f"{count:,} examples of {cell} beside" for cell, count in self.shots)])


@dataclass(frozen=True)
class Source:
    """The cells one adapter is trained on, in config order; of a sample so many examples of each, else all.

    A stage has a `name`, and begins with the adapter of its `start`: of another source, or one of the config's
    `adapters`, which its name says. So has a source whose data are changed.
    """

    cells: tuple[Cell, ...]
    size: int | None = None
    name: str | None = None
    start: Source | str | None = None
    change: Change | None = None

    @property
    def task(self) -> str:
        """The tasks; of a stage with its name behind them, by which results tell it from others of these cells."""
        return "+".join(dict.fromkeys(cell.task for cell in self.cells)) + self._stage

    @property
    def language(self) -> str:
        return "+".join(dict.fromkeys(cell.language for cell in self.cells))

    @property
    def mark(self) -> str:
        """What is behind the names of a sample: its size. No name of a task or language has an @."""
        return "" if self.size is None else f"@{self.size}"

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """How many examples of each cell it has; None is all."""
        shots = dict(self.change.shots) if self.change else {}
        return tuple(shots.get(cell, self.size) for cell in self.cells)

    @property
    def names(self) -> tuple[str, ...]:
        """Each cell as it is learned from."""
        return tuple(
            f"{cell}" if size is None else f"{cell}@{size}" for cell, size in zip(self.cells, self.sizes, strict=True)
        )

    @property
    def own(self) -> tuple[Cell, ...]:
        """Its cells but those of which it has some examples beside."""
        shots = dict(self.change.shots) if self.change else {}
        return tuple(cell for cell in self.cells if cell not in shots)

    @property
    def is_plain(self) -> bool:
        """Whether it is of cells as they are, and begins afresh."""
        return self.start is None and self.change is None

    @property
    def whole(self) -> Source:
        """The source that a sample is drawn from; any other is its own."""
        return replace(self, size=None)

    @property
    def line(self) -> tuple[Source, ...]:
        """The sources that are learned one after the other, itself the last."""
        return (*(self.start.line if isinstance(self.start, Source) else ()), self)

    @property
    def root(self) -> str | None:
        """The adapter of `adapters` with which the first of these begins; None where that one begins afresh."""
        start = self.line[0].start
        return start if isinstance(start, str) else None

    @property
    def _stage(self) -> str:
        return "" if self.name is None else f"@{self.name}"

    def __str__(self) -> str:
        return "+".join(self.names) + self._stage

    @classmethod
    def of(cls, cells: Sequence[Cell], size: int | None = None) -> Source:
        return cls(tuple(cells), size)


def regime(source_task: str, source_language: str, target_task: str, target_language: str) -> Regime:
    """How a target relates to a source: matched/cross task (MT/CT), matched/cross language (ML/CL).

    Of a joint source (`a+b`) or a stage (`a@name`) of which no more than its names is known; else `regime_of` tells.
    """
    task = "MT" if target_task in source_task.partition("@")[0].split("+") else "CT"
    language = "ML" if target_language in source_language.split("+") else "CL"
    return f"{task}-{language}"  # type: ignore[return-value]


def regime_of(cells: Collection[Cell], target: Cell) -> Regime:
    """How a target relates to cells that were learned from: MT-ML to one of them, else MT-CL to one of their tasks.

    Else it is CT-ML to one of their languages.
    """
    if target in cells:
        return "MT-ML"
    if target.task in {cell.task for cell in cells}:
        return "MT-CL"
    return "CT-ML" if target.language in {cell.language for cell in cells} else "CT-CL"


def original_cell(named: str, language: str) -> Cell:
    """The cell that a task's `translation_of` names for its cell in a language: of a task the one in that language.

    Raises ValueError for what is written as neither.
    """
    return Cell.parse(named) if "/" in named else Cell(named, language)
