"""Which items of a target hang together: those with one value in the column that `tasks[].group_field` names.

It changes nothing that is computed, only what a report counts as apart, so a study that is done takes it up in a run
that computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.planning.survey import Survey
from study.cells import Cell
from study.config import TaskConfig
from study.data.harness import Document
from study.errors import ConfigError
from study.identity import digest
from study.store.seen import Groups

NAME = 12  # characters of a digest that tell groups apart
FEWEST = 2


def groups(found: Survey, tasks: Sequence[TaskConfig]) -> dict[str, Groups]:
    """By target; none of a task that names no column. ConfigError for a column that does not part its items."""
    fields = {task.name: task.group_field for task in tasks if task.group_field is not None}
    told = {}
    for cell in found.targets:
        if not cell.held_out and (field := fields.get(cell.task)) is not None:
            documents = {one.doc_id: one.doc for one in found.library.load(cell).instances}
            told[str(cell)] = _groups(cell, field, documents)
    return told


def _groups(cell: Cell, field: str, documents: Mapping[int, Document]) -> Groups:
    """An item without a value there is in no group."""
    key = f"tasks[{cell.task}].group_field"
    by_name: dict[str, list[int]] = {}
    alone = 0
    for number, one in documents.items():
        if field not in one:
            raise ConfigError(key, field, f"is no column of {cell}", f"name one of {', '.join(map(str, one))}")
        if (value := one[field]) is None or value == "":
            alone += 1
        else:
            by_name.setdefault(digest(str(value))[:NAME], []).append(number)
    if len(by_name) + alone < FEWEST:
        problem = f"all {len(documents):,} items of {cell} have one value there, so there is nothing to compare"
        raise ConfigError(key, field, problem, "name a column that differs between passages, or drop it")
    return {name: tuple(numbers) for name, numbers in by_name.items()}
