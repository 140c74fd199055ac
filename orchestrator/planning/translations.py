"""Whether a test set that the config calls a translation of another has the same items, in the same order.

They are set beside one another item by item, so one that stands elsewhere would be compared with another question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.planning.survey import Survey
from study.cells import Cell
from study.config import TaskConfig
from study.data.gold import answer
from study.data.harness import Instance, Task
from study.errors import ConfigError


def check_translated(found: Survey, tasks: Sequence[TaskConfig]) -> None:
    """Raise ConfigError for an item that its original has not, has under another id, or with another right option."""
    translated = {task.name: task for task in tasks if task.translation_of is not None}
    for cell in found.targets:
        original = translated[cell.task].original(cell.language) if cell.task in translated else None
        if original in found.targets and not cell.held_out:
            problem = _difference(found, cell, original)
            if problem is not None:
                key, value = f"tasks[{cell.task}].translation_of", translated[cell.task].translation_of
                raise ConfigError(key, value, problem, "have the rows of the original, in its order")


def _difference(found: Survey, cell: Cell, original: Cell) -> str | None:
    mine, theirs = found.library.load(cell), found.library.load(original)
    ours, others = _by_number(mine), _by_number(theirs)
    if lonely := sorted(ours.keys() ^ others.keys()):
        has, lacks = (cell, original) if lonely[0] in ours else (original, cell)
        return f"item {lonely[0]} of {has} is none of {lacks}, which has {len(others if has is cell else ours):,} items"
    for number, one in ours.items():
        for what, (a, b) in _told(mine, one, theirs, others[number]).items():
            if a != b:
                return f"item {number} of {cell} has {what} {a!r}, and of {original} {b!r}"
    return None


def _told(mine: Task, one: Instance, theirs: Task, other: Instance) -> Mapping[str, tuple[object, object]]:
    """What an item and its translation have in common: an id where both have one, the right one of their options."""
    told = {"id": (one.doc["id"], other.doc["id"])} if "id" in one.doc and "id" in other.doc else {}
    if mine.OUTPUT_TYPE == theirs.OUTPUT_TYPE == "multiple_choice":
        told["gold"] = (answer(mine, one.doc), answer(theirs, other.doc))
    return told


def _by_number(task: Task) -> dict[int, Instance]:
    return {one.doc_id: one for one in task.instances}
