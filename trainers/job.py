"""What a trainer is asked for and what it gives back: values, so that a gang can be sent anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from study.config import Recipe, Training
from study.data.example import Example
from study.faults.kinds import FailureKind
from study.models.resolve import Model
from study.store.course import Conditions, Course


@dataclass(frozen=True)
class Job:
    """One adapter to train: a member of a gang. `cells` counts the examples of each cell, where there are several.

    `prompts` are pairs of other tasks, cell by cell, on whose prompts it is kept near the base. It begins with the
    weights of a file, `start`, or afresh.
    """

    adapter_id: str
    seed: int
    examples: tuple[Example, ...]
    cells: tuple[int, ...] = ()
    prompts: tuple[tuple[Example, ...], ...] = ()
    start: bytes | None = None


@dataclass(frozen=True)
class Setup:
    """What the jobs of a gang share: the base, what is learned, and how the training is run."""

    model: Model
    recipe: Recipe
    training: Training


@dataclass(frozen=True)
class Trained:
    """A trained adapter: a local folder in PEFT format, how its training went, and what it shared with its gang."""

    adapter_id: str
    folder: Path
    course: Course
    conditions: Conditions


@dataclass(frozen=True)
class Rejected:
    """A member that cannot be trained, whatever is tried: the other members are untouched."""

    adapter_id: str
    kind: FailureKind
    message: str
