"""A gang in a trial: what of it is still to train, and what a failure does to that. No Ray in here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.failures import budget
from orchestrator.scheduling.shrink import halves, is_least, smaller
from study.config import Failures, Recipe, Training
from study.faults.kinds import OUT_OF_MEMORY, STOPS

AGAIN, SPLIT, GIVEN_UP = "again", "split", "given up"


@dataclass
class Attempt:
    """The `parts` of a gang that are still to train, the one at work first; None before that is known.

    `spent` counts the tries of what is at work, by kind of failure.
    """

    gang: Sequence[str]
    training: Training
    spent: dict[str, int] = field(default_factory=dict)
    parts: list[list[str]] | None = None

    def begin(self, to_do: Sequence[Sequence[str]], most: int, training: Training) -> None:
        """It is known what there is to do: train at most `most` adapters at once."""
        self.training = training
        self.parts = [list(part[i : i + most]) for part in to_do for i in range(0, len(part), most)]

    @property
    def is_over(self) -> bool:
        return self.parts == []

    @property
    def at_work(self) -> Sequence[str]:
        """What the next try, or the last, is of: before that is known it may be all."""
        return self.parts[0] if self.parts else self.gang

    def ended(self) -> None:
        """What was at work is trained, or given up."""
        self.parts, self.spent = (self.parts or [])[1:], {}

    def failed(self, kind: str, is_able: bool, failures: Failures, recipe: Recipe) -> str:
        """Book a failure of what is at work, and what to do about it: AGAIN, SPLIT or GIVEN_UP.

        Too little memory makes what is done at once smaller, which ends and so is not counted until it is least.
        Whatever else has spent its budget may be the fault of one member: where `is_able`, gangs of this model having
        been trained here, the halves are tried once more.
        """
        if kind == OUT_OF_MEMORY and self.parts is not None and not is_least(self.at_work, self.training, recipe):
            self.parts, self.training = smaller(self.parts, self.training, recipe)
            return AGAIN
        several = self.parts is not None and len(self.at_work) > 1
        self.spent[kind] = self.spent.get(kind, 0) + 1
        if self.spent.get(kind, 0) > budget(kind, failures):
            if not (several and is_able) or kind in STOPS:
                return GIVEN_UP
            assert self.parts is not None
            self.parts[:1] = halves(self.at_work)
            self.spent[kind] -= 1
            return SPLIT
        return AGAIN
