"""Raw text as a target: how well texts that were not learned from are told, in bits per byte, as lm-eval rates a text.

Invariant: a text is scored or learned from, never both: those that `recipe.validation` would hold out are taken from
what is learned as soon as their cell is among the targets. Which they are is a function of how many texts there are.
"""

from __future__ import annotations

from collections.abc import Iterable

from lm_eval.api.task import ConfigurableTask

from study.cells import Cell
from study.config import Validation
from study.data.example import Example
from study.data.harness import Documents, Task
from study.data.held_out import split
from study.errors import TaskError

METRIC = "bits_per_byte"
_SPLIT = "held out"
_CONFIG = {
    "test_split": _SPLIT,
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "num_fewshot": 0,
    "metric_list": [{"metric": METRIC}],
}


class RawTexts:
    """The cells of raw text that are among the targets, each with the numbers of its documents that are scored."""

    def __init__(self, cells: Iterable[Cell], validation: Validation) -> None:
        self._validation = validation
        self.scored: dict[Cell, list[int]] = {cell: [] for cell in cells}

    def __contains__(self, cell: Cell) -> bool:
        return cell in self.scored

    def learned(self, cell: Cell, examples: dict[int, Example]) -> dict[int, Example]:
        """Those of the examples, by their documents' numbers, that are not scored. Raises TaskError."""
        numbers, fraction = list(examples), self._validation.fraction
        if not fraction or len(numbers) < 2:
            fix = "raise recipe.validation.fraction, give it more texts, or leave it out of targets"
            raise TaskError(f"{cell}: of {len(numbers):,} texts none can be held out of training to be scored: {fix}")
        one = self._validation.model_copy(update={"fraction": 1.5 / len(numbers)})  # where its share is less than one
        held_out = split(len(numbers), self._validation)[1] or split(len(numbers), one)[1]
        self.scored[cell] = sorted(numbers[i] for i in held_out)
        return {number: examples[number] for number in sorted(set(numbers).difference(self.scored[cell]))}

    def task(self, cell: Cell, documents: Documents, field: str) -> Task:
        """The lm-eval task that rates the texts of a cell, which stand in a column of its documents."""
        import datasets

        own = [dict(documents[number]) for number in self.scored[cell]]
        made: Task = ConfigurableTask(config=_CONFIG | {
            "task": str(cell),
            "custom_dataset": lambda **_: {_SPLIT: datasets.Dataset.from_list(own)},
            "doc_to_target": field,
        })  # fmt: skip
        return made
