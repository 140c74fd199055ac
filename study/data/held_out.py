"""Items to choose a lambda on: a task's own validation split, or the rows that training holds out; never test items.

Which rows training holds out is a function of how many examples there are and of `recipe.validation` alone, so that no
source is trained anew for it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import partial

import numpy as np

from study.cells import Cell
from study.config import TrainOverride, Validation
from study.data.group.document import asker
from study.data.group.task import GroupTask
from study.data.harness import Document, Documents, Task
from study.data.prints import doc_hash
from study.errors import TaskError

SPLIT = "held out"  # how a task's data name these rows


def split(count: int, validation: Validation) -> tuple[list[int], list[int]]:
    """Indices to train on, and to validate on: `floor(fraction * count)` examples, drawn by the validation seed.

    `split: datasets` draws ceil(fraction * count), but never all, as datasets' `train_test_split(fraction, seed=…)`.
    Those to validate on are sorted, or as they were drawn where batches of them count (`mean: batch`).
    """
    if validation.split == "datasets" and validation.fraction:
        order = np.random.default_rng(validation.seed).permutation(count).tolist()
        held_out = min(math.ceil(validation.fraction * count), count - 1)
    else:
        order = list(range(count))
        random.Random(f"validation:{validation.seed}").shuffle(order)
        held_out = int(validation.fraction * count)
    drawn = order[:held_out]
    return sorted(order[held_out:]), drawn if validation.mean == "batch" else sorted(drawn)


def own_split(task: Task) -> str | None:
    """The validation split of a task; None where there is none beside what is scored, or not in all of a group."""
    if isinstance(task, GroupTask):
        splits = [own_split(one) for one in task.members]
        return ", ".join(dict.fromkeys(map(str, splits))) if all(splits) else None
    name, scored = task.get_config("validation_split"), task.get_config("test_split")
    return str(name) if name and scored and name != scored else None


def asks(task: Task, documents: Documents | None) -> None:
    """Have a task ask other items than its test items: its validation split's, or these, which are ready for it.

    Of a group each task asks its own of them.
    """
    if isinstance(task, GroupTask):
        for one in task.members:
            name = one.task_name
            asks(one, None if documents is None else [own for own in documents if asker(one, own).task_name == name])
        vars(task).pop("eval_docs", None)  # which it may have kept by now
        return
    if documents is None:
        task.set_config(key="test_split", value=own_split(task))
        return
    import datasets

    ready = datasets.Dataset.from_list([dict(one) for one in documents])
    process = task.config.process_docs
    task.dataset[SPLIT] = ready  # type: ignore[index]  # a DatasetDict
    task.set_config(key="test_split", value=SPLIT)
    if process is not None:
        task.set_config(key="process_docs", value=partial(_unless_ready, ready, process))


def check_apart(cell: Cell, items: Sequence[Document], tests: Documents) -> None:
    """Raise TaskError where items to choose on are among those that are measured."""
    known = {doc_hash(one) for one in tests}
    if among := sum(doc_hash(one) in known for one in items):
        fix = "take them out of one of the two, or choose lambda yourself"
        raise TaskError(
            f"{cell}: {among:,} of {len(items):,} items to choose lambda on are among the test items: {fix}"
        )


def check_own(cell: Cell, train: TrainOverride[str]) -> None:
    """Raise TaskError for a cell that learns from other data than are scored: what it holds out is none of these."""
    if train.names_data:
        fix = "give its task a validation_split, or set lambda to a number"
        raise TaskError(f"{cell}: is trained on other data than it is scored on, so no item is held out: {fix}")


def held_out(cell: Cell, numbers: Sequence[int], documents: Documents, validation: Validation) -> Documents:
    """Those of the documents that training holds out, of the `numbers` that it has. Raises TaskError for none."""
    found = [documents[numbers[i]] for i in split(len(numbers), validation)[1]]
    if not found:
        fix = "raise recipe.validation.fraction, give the task a validation_split, or set lambda to a number"
        raise TaskError(f"{cell}: no item is held out, by its task or by recipe.validation: {fix}")
    return found


def _unless_ready(ready: Documents, process: object, documents: Documents) -> Documents:
    return documents if documents is ready else process(documents)  # type: ignore[operator]
