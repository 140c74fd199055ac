"""Prompts of a study's cells, on which adapters of other tasks are kept near the base: those of training examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from study.cells import Cell, Source
from study.data.example import Example
from study.identity import deciding, digest


@dataclass(frozen=True)
class Prompts:
    """A cell's training examples that have a prompt: no raw texts and no conversations. Their answers do not count."""

    examples: tuple[Example, ...] = ()
    fingerprint: str = ""

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Prompts:
        pairs = tuple(one for one in examples if one.prompt.strip() and one.format in (None, "prompt_completion"))
        return cls(pairs, digest([_told(one) for one in pairs]))


def others(prompts: Mapping[Cell, Prompts], source: Source) -> list[Prompts]:
    """Those of cells that a source shares no task with, by their names; in whatever order they were looked at."""
    tasks = tasks_of(source)
    return [prompts[cell] for cell in sorted(prompts) if cell.task not in tasks and prompts[cell].examples]


def tasks_of(source: Source) -> set[str]:
    """The tasks that an adapter of it has learned: a stage is to keep those of the stages before it, too."""
    return {cell.task for one in source.line for cell in one.cells}


def _told(example: Example) -> list[object]:
    """What decides the tokens of a prompt."""
    own = {name: getattr(example, name) for name in ("bos", "max_length", "truncation", "format")}
    later = deciding("example", own)
    return [example.prompt, *([later] if later else [])]
