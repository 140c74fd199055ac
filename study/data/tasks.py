"""Tasks as lm-eval defines them: what is scored, and what is trained on.

Cells map to lm-eval task names; lm-eval loads the data and renders the requests, so scores are comparable with
published ones by construction. Training examples come from the same definition or from its `train:` override.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

os.environ.setdefault("TQDM_DISABLE", "1")  # lm-eval draws a bar per task and takes no argument against it

from lm_eval.tasks import TaskManager

from study.cells import Cell, Source
from study.config import Scoring, StudyConfig, TaskConfig
from study.data.example import Example, example_of, told
from study.data.gold import answer, gold, plain
from study.data.harness import Document, Documents, Instance, Task
from study.data.limited import behind, queue, taken
from study.data.manifest import positions, row_id
from study.data.templates import use_sandbox
from study.errors import ConfigError, TaskError
from study.faults.network import Unreachable, is_network_trouble
from study.identity import digest
from study.models.hub import one_per_node

logging.getLogger("lm_eval").setLevel(logging.ERROR)
use_sandbox()

Split = Literal["train", "test"]
FEWSHOT_SEED = 1234  # lm-eval's default `fewshot_random_seed`


class TaskLibrary:
    """The lm-eval tasks of a study. Tasks are loaded on first use and kept."""

    def __init__(self, tasks: Sequence[TaskConfig], scoring: Scoring, languages: Sequence[str] = ()) -> None:
        """`languages` are the study's; the first is the one in which a limit draws a task's items for all."""
        self._tasks = {task.name: task for task in tasks}
        self._scoring = scoring
        self._languages = tuple(languages)
        self._queues: dict[tuple[Cell, Split], dict[str, int]] = {}
        self._loaded: dict[Cell, Task] = {}
        self._examples: dict[Cell, tuple[Example, ...]] = {}
        self._managers: dict[str | None, TaskManager] = {}

    @classmethod
    def of(cls, config: StudyConfig) -> TaskLibrary:
        return cls(config.tasks, config.scoring, config.languages)

    def check(self, cells: Iterable[Cell]) -> None:
        """Raise ConfigError for a cell whose lm-eval task is not defined anywhere. Loads no data."""
        for cell in cells:
            task = self._tasks[cell.task]
            name = task.lm_eval_name(cell.language)
            manifest = task.train.manifest
            if manifest is not None and not Path(manifest).is_file():
                key = f"tasks[{cell.task}].train.manifest"
                fix = "name a CSV with the columns split,id, or draw one: python -m study.draw CONFIG"
                raise ConfigError(key, manifest, "no such file", fix)
            if name in self._manager(task.include_path, defaults=False).all_subtasks:
                continue
            known = self._manager(task.include_path, defaults=True).all_subtasks
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=3)
                raise ConfigError(
                    f"tasks[{cell.task}].lm_eval",
                    task.lm_eval,
                    f"lm-eval has no task {name!r} (language {cell.language!r})",
                    f"did you mean {', '.join(near)}?"
                    if near
                    else "set include_path to the folder of its YAML file, or drop the language",
                )

    def load(self, cell: Cell) -> Task:
        """Load the cell's lm-eval task, set up as `lm_eval.evaluate` would. Raises TaskError, and Unreachable."""
        if cell not in self._loaded:
            task = self._tasks[cell.task]
            name = task.lm_eval_name(cell.language)
            defaults = name not in self._manager(task.include_path, defaults=False).all_subtasks
            try:
                with one_per_node(f"data {name}"):
                    loaded = self._manager(task.include_path, defaults).load(str(name))["tasks"][name]
            except Exception as error:  # a task runs its author's code and fetches data: anything can be raised
                raise _fault(f"{cell}: lm-eval task {name} cannot be loaded", error) from error
            if loaded.get_config("num_fewshot") != 0:
                loaded.set_config(key="num_fewshot", value=self._scoring.num_fewshot)
            loaded.set_fewshot_seed(seed=FEWSHOT_SEED)
            self._loaded[cell] = loaded
        return self._loaded[cell]

    def build_requests(self, cell: Cell, chat_template: Callable[..., str] | None = None) -> list[Instance]:
        """Build lm-eval's instances for the cell's target items, in document order. Raises TaskError."""
        task = self.load(cell)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
        try:
            samples = self._samples(cell, task)
            task.build_all_requests(
                limit=None,
                samples=samples,
                apply_chat_template=chat_template is not None,
                fewshot_as_multiturn=chat_template is not None,  # lm-eval's default where there is a chat template
                chat_template=chat_template,
                tokenizer_name="",
            )
        except (TaskError, Unreachable):
            raise
        except Exception as error:  # templates meet the data here: anything can be raised
            raise TaskError(f"{cell}: requests cannot be built: {type(error).__name__}: {error}") from error
        if samples is not None:
            for instance in task.instances:  # lm-eval counts the chosen documents; results name rows of the split
                instance.doc_id = samples[instance.doc_id]
        return list(task.instances)

    def documents(self, cell: Cell) -> tuple[list[Document], list[Document]]:
        """List the cell's documents to train on and to score, without regard to a manifest. Raises TaskError."""
        task = self.load(cell)
        return list(self._train_documents(cell, task)), list(task.eval_docs)

    def target_fingerprint(self, cell: Cell, instances: Sequence[Instance]) -> str:
        """Digest what decides a target's scores beside the model: requests, gold answers, metrics. Raises TaskError.

        `instances` are the cell's, as `build_requests` made them without a chat template. The cell is in it, since
        results are known by it: two cells may hold the same data.
        """
        task = self.load(cell)
        keys = ("metric_list", "filter_list", "process_results", "output_type", "repeats")
        try:
            requests = [[i.doc_id, i.request_type, plain(i.args), plain(gold(task, i.doc))] for i in instances]
            settings = plain({key: task.get_config(key) for key in keys})
            return digest({"cell": str(cell), "requests": requests, "settings": settings})
        except TaskError:
            raise
        except Exception as error:  # templates meet the data here, and data may hold what has no canonical form
            raise TaskError(f"{cell}: its items have no identity: {type(error).__name__}: {error}") from error

    def examples(self, cell: Cell) -> tuple[Example, ...]:
        """Make the cell's training examples, in the order of its split or manifest. Raises TaskError."""
        if cell not in self._examples:
            self._examples[cell] = self._build_examples(cell)
        return self._examples[cell]

    def _build_examples(self, cell: Cell) -> tuple[Example, ...]:
        train, task = self._tasks[cell.task].train, self.load(cell)
        try:
            documents = list(self._train_documents(cell, task))
            chosen = self._limited(cell, "train", documents, positions(train.manifest, "train", documents))
            examples = tuple(example_of(task, documents[i], train) for i in chosen)
        except (TaskError, Unreachable):
            raise
        except Exception as error:  # templates and datasets: anything can be raised
            raise _fault(f"{cell}: training examples cannot be built", error) from error
        if not examples:
            raise TaskError(f"{cell}: no training example")
        return examples

    def _samples(self, cell: Cell, task: Task) -> list[int] | None:
        """Number the documents to score, in order; None for all."""
        manifest, limit = self._tasks[cell.task].train.manifest, self._scoring.limit
        if manifest is None and limit is None:
            return None
        documents = list(task.eval_docs)
        samples = self._limited(cell, "test", documents, sorted(positions(manifest, "test", documents)))
        return None if samples == list(range(len(documents))) else samples

    def _limited(self, cell: Cell, split: Split, documents: Documents, chosen: list[int]) -> list[int]:
        """Take as many of the chosen documents as the limit of the split allows, in their order."""
        task = self._tasks[cell.task]
        limit = self._scoring.limit if split == "test" else task.train.limit
        if limit is None or limit >= len(chosen):
            return chosen
        first = next((one for one in self._languages if task.lm_eval_name(one) is not None), cell.language)
        places, names = self._queue(Cell(cell.task, first), split), [row_id(documents[i], i) for i in chosen]
        if not places.keys() >= set(names):
            places = behind(places, self._queue(cell, split))
        return [chosen[i] for i in taken(names, places, limit)]

    def _queue(self, cell: Cell, split: Split) -> dict[str, int]:
        if (cell, split) not in self._queues:
            task = self.load(cell)
            documents = list(task.eval_docs if split == "test" else self._train_documents(cell, task))
            chosen = positions(self._tasks[cell.task].train.manifest, split, documents)
            names, answers = [row_id(documents[i], i) for i in chosen], [answer(task, documents[i]) for i in chosen]
            self._queues[cell, split] = queue(names, answers, f"{cell.task}:{split}")
        return self._queues[cell, split]

    def source_examples(self, source: Source) -> tuple[Example, ...]:
        """List the examples of all cells of a source, cell after cell. Raises TaskError."""
        return tuple(example for cell in source.cells for example in self.examples(cell))

    def example_fingerprints(self, source: Source) -> list[str]:
        """Digest each cell of a source: the cell, and its examples with templates applied. Raises TaskError."""
        return [digest([str(cell), *(told(one) for one in self.examples(cell))]) for cell in source.cells]

    def _manager(self, include_path: str | None, defaults: bool) -> TaskManager:
        """Index a folder of tasks as lm-eval does; its own thousands only when a name is not found there."""
        if include_path is None:
            return self._default_manager
        if include_path not in self._managers:
            if not Path(include_path).is_dir():
                raise ConfigError(
                    "tasks.include_path",
                    include_path,
                    f"no such folder (working directory: {Path.cwd()})",
                    "name the folder of your lm-eval YAML files",
                )
            self._managers[include_path] = TaskManager(include_path=include_path, include_defaults=False)
        return self._default_manager if defaults else self._managers[include_path]

    @cached_property
    def _default_manager(self) -> TaskManager:
        folders = [task.include_path for task in self._tasks.values() if task.include_path]
        return TaskManager(include_path=list(dict.fromkeys(folders)) or None)

    def _train_documents(self, cell: Cell, task: Task) -> Documents:
        train = self._tasks[cell.task].train
        if train.dataset_path is not None:
            import datasets

            loaded: Documents = datasets.load_dataset(
                train.dataset_path, train.dataset_name, split=train.split or "train"
            )
            return loaded
        split = train.split or task.config.training_split or task.config.fewshot_split
        if split is None:
            raise TaskError(
                f"{cell}: its task has no training split; set tasks[{cell.task}].train.split or .dataset_path"
            )
        if split not in task.dataset:
            raise TaskError(f"{cell}: its data has no split {split!r}, only {', '.join(task.dataset)}")
        documents = task.dataset[split]
        return task.config.process_docs(documents) if task.config.process_docs is not None else documents


def _fault(what: str, error: Exception) -> TaskError | Unreachable:
    """Make the error to raise for a fault of a task (TaskError), or of a network (Unreachable)."""
    from huggingface_hub import constants

    reason = f"{what}: {type(error).__name__}: {error}"
    passes = is_network_trouble(error) and not constants.HF_HUB_OFFLINE
    return Unreachable(reason) if passes else TaskError(reason)
