"""Where lm-eval's tasks are defined: in a study's own folders, else among its thousands, whose index takes a while.

A name that is nowhere is told without that index: it would stand in one of the files.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")  # lm-eval draws a bar per task and takes no argument against it
# datasets would tell a server of each load, of local files too, and wait for an answer where there is no network.
os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")

import lm_eval.tasks
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from study.cells import Cell
from study.config import TaskConfig
from study.data.code import check_trusted
from study.data.group.leaves import entries, is_group
from study.errors import ConfigError


class Catalogue:
    """The definitions that a study's tasks are among."""

    def __init__(self, tasks: Sequence[TaskConfig]) -> None:
        self._folders = list(dict.fromkeys(task.include_path for task in tasks if task.include_path))
        self._own: dict[str, TaskManager] = {}

    def manager(self, task: TaskConfig, name: str) -> TaskManager:
        """The manager that knows a task's name: of its own folder, where it is there. Raises ConfigError, also for code
        that the config does not trust."""
        found = self._folder(task.include_path) if self._is_own(task, name) and task.include_path else self._everything
        for _, entry in entries(found.task_index, name):
            check_trusted(task, None if entry is None else entry.yaml_path)
        return found

    def definitions(self, task: TaskConfig, name: str | None) -> list[dict[str, object]]:
        """What a task's file says, with what it includes; functions are named, not loaded. A source alone has none, a
        group those of its tasks.
        """
        if name is None:
            return [{}]
        known = self.manager(task, name).task_index
        found = [entry for _, entry in entries(known, name) if entry is not None]
        return [load_yaml(one.yaml_path, resolve_func=False) if one.yaml_path else one.cfg or {} for one in found]

    def check(self, cells: Sequence[tuple[Cell, TaskConfig]]) -> None:
        """Raise ConfigError for a cell whose task is not defined anywhere; a source alone names none."""
        named = [(cell, task, name) for cell, task in cells if (name := task.lm_eval_name(cell.language)) is not None]
        elsewhere = [(cell, task, name) for cell, task, name in named if not self._is_own(task, name)]
        mentioned = _mentioned({name for _, _, name in elsewhere}, [_LM_EVAL, *map(Path, self._folders)])
        for cell, task, name in elsewhere:
            index = self._everything.task_index if name in mentioned else {}
            if name not in index or not (is_group(index, name) or name in self._everything.all_subtasks):
                raise self._unknown(cell, task, name)
        for cell, task, name in named:
            index = self.manager(task, name).task_index
            if missing := next((one for one, entry in entries(index, name) if entry is None), None):
                problem = f"lm-eval group {name!r} (language {cell.language!r}) names {missing!r}, which is nowhere"
                raise ConfigError(f"tasks[{cell.task}].lm_eval", task.lm_eval, problem, "mend the group's file")

    def _unknown(self, cell: Cell, task: TaskConfig, name: str) -> ConfigError:
        known = self._folder(task.include_path).all_subtasks if task.include_path else []
        near = difflib.get_close_matches(name, [*known, *(file.stem for file in _LM_EVAL.rglob("*.yaml"))], n=3)
        fix = "set include_path to the folder of its YAML file, or drop the language"
        fix = f"did you mean {', '.join(near)}?" if near else fix
        for file, reason in _unreadable(task.include_path) if task.include_path else ():
            fix = f"mend {file}, which is left out as it cannot be read: {reason}"
        problem = f"lm-eval has no task {name!r} (language {cell.language!r})"
        return ConfigError(f"tasks[{cell.task}].lm_eval", task.lm_eval, problem, fix)

    def _is_own(self, task: TaskConfig, name: str) -> bool:
        """Whether a name is of the task's folder: a task, or a group with all of its tasks."""
        if task.include_path is None:
            return False
        index = self._folder(task.include_path).task_index
        is_one = name in self._folder(task.include_path).all_subtasks or is_group(index, name)
        return is_one and all(entry is not None for _, entry in entries(index, name))

    def _folder(self, path: str) -> TaskManager:
        if path not in self._own:
            if not Path(path).is_dir():
                raise ConfigError(
                    "tasks.include_path",
                    path,
                    f"no such folder (working directory: {Path.cwd()})",
                    "name the folder of your lm-eval YAML files",
                )
            self._own[path] = TaskManager(include_path=path, include_defaults=False)
        return self._own[path]

    @cached_property
    def _everything(self) -> TaskManager:
        return TaskManager(include_path=self._folders or None)


_LM_EVAL = Path(lm_eval.tasks.__file__).parent


def _unreadable(folder: str) -> Iterator[tuple[Path, str]]:
    """Yield the YAML files of a folder that lm-eval passes over without a word, and why."""
    for file in sorted(Path(folder).rglob("*.yaml")):
        try:
            load_yaml(file, resolve_func=False)
        except Exception as error:  # noqa: BLE001 - lm-eval's loader catches all, too
            yield file, " ".join(str(error).split())[:300]


def _mentioned(names: Collection[str], folders: Sequence[Path]) -> set[str]:
    """Find which names stand in any of the YAML files of folders."""
    missing, found = {name.encode(): name for name in names}, set[str]()
    for file in (file for folder in folders for file in folder.rglob("*.yaml")):
        if not missing:
            break
        text = file.read_bytes()
        for name in [name for name in missing if name in text]:
            found.add(missing.pop(name))
    return found
