"""Checks of tasks that are translations of others: the original has to be there, and among what is scored."""

from __future__ import annotations

from study.config.keys import StudyConfig
from study.config.task import TaskConfig
from study.errors import ConfigError


def check_translations(config: StudyConfig) -> None:
    """Raise ConfigError for a `translation_of` that names no task or cell which is scored beside its translation."""
    scored = set(config.target_list())
    for task in config.tasks:
        if task.translation_of is not None:
            _check_named(config, task)
            mine = {cell: task.original(cell.language) for cell in scored if cell.task == task.name}
            if mine and not scored.intersection(mine.values()):
                cell, original = min(mine.items())
                problem = f"{cell} is scored, and its original, {original}, is not"
                fix = f"add {original} to targets, or leave {cell} out"
                raise ConfigError(f"tasks[{task.name}].translation_of", task.translation_of, problem, fix)


def _check_named(config: StudyConfig, task: TaskConfig) -> None:
    key, named = f"tasks[{task.name}].translation_of", str(task.translation_of)
    others = [one.name for one in config.tasks if one.lm_eval and one.name != task.name and not one.translation_of]
    fix = f"name one of {', '.join(others)}, or a cell of one" if others else "drop it"
    if named.partition("/")[0] not in others:
        raise ConfigError(key, named, "is no other task of the study that is scored and no translation itself", fix)
    if "/" in named:
        config.cell(key, named)
