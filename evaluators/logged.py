"""lm-eval's own evaluation and files for the answers of one subject after another.

Invariant: judged is what was asked: a target whose items are not those of the store is refused, not written.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lm_eval.evaluator import evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.loggers.utils import add_env_info, add_tokenizer_info, get_git_commit_hash

from evaluators.answers import Answer, Answers, Subject
from evaluators.items.judge import BOOTSTRAP_ITERATIONS
from evaluators.replay import Replay
from study.cells import Cell
from study.config import Scoring
from study.data.group.document import asker
from study.data.group.task import GroupTask
from study.data.harness import Task
from study.data.loading import FEWSHOT_SEED
from study.data.prints import doc_hash
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from study.models.resolve import Model


@dataclass(frozen=True)
class Asked:
    """A target with the answers of a subject."""

    task: Task
    answers: Answers
    scoring: Scoring
    without: str | None = None  # a metric of what the store does not keep
    within: GroupTask | None = None  # whose task it is

    @property
    def alike(self) -> object:
        """What one evaluation has for all of its tasks."""
        args = sorted((self.scoring.chat_template_args or {}).items())
        return self.scoring.apply_chat_template, self.scoring.system_prompt, str(args)


@dataclass(frozen=True)
class Log:
    """Writes what a model and its adapters answered below a folder."""

    library: TaskLibrary
    model: Model
    out: Path
    left_out: dict[str, str] = field(default_factory=dict)  # by target: a metric of what the store does not keep

    @cached_property
    def _replay(self) -> Replay:
        return Replay(self.model)

    @cached_property
    def _surroundings(self) -> dict[str, object]:
        """What lm-eval says of the machine, which it takes seconds to find."""
        found: dict[str, object] = {"git_hash": get_git_commit_hash()}
        add_env_info(found)
        return found

    def write(self, subject: Subject, found: Mapping[Cell, Mapping[int, Answer]]) -> Iterator[str]:
        """Write the files of a subject, from its answers by target and row; a line for each target that cannot be."""
        runs: dict[object, dict[str, Asked]] = {}
        for cell, by_row in sorted(found.items()):
            try:
                asked = self._asked(cell, by_row)
            except TaskError as error:
                yield f"{cell}: {error}"
                continue
            named = {one.task.task_name: one for one in asked}
            run = runs.setdefault(asked[0].alike, {})
            if asked[0].within is not None or named.keys() & run.keys():  # or two cells of one task
                run = runs.setdefault(cell, {})
            run.update(named)
            self.left_out.update({str(cell): one.without for one in asked if one.without is not None})
        for run in runs.values():
            self._run(subject, run)

    def _asked(self, cell: Cell, by_row: Mapping[int, Answer]) -> list[Asked]:
        """A target's task and answers, of a group each of its tasks that has any; TaskError where items are not those
        answered, or more is asked.
        """
        task, scoring = self.library.load(cell), self.library.scoring(cell)
        instances = self.library.build_requests(cell, self._replay.chat(scoring))
        docs = {one.doc_id: one.doc for one in instances}
        changed = [row for row, doc in docs.items() if row not in by_row or by_row[row].doc_hash != doc_hash(doc)]
        if changed or docs.keys() != by_row.keys():
            raise TaskError(
                f"its items have changed since they were answered, the first in row {min(changed, default=0)}"
            )
        if any(one.idx >= max(1, len(by_row[one.doc_id].loglikelihoods)) for one in instances):
            raise TaskError("it asks for log-likelihoods of bare options, which a store does not keep")
        parts = [(task, by_row)] if not isinstance(task, GroupTask) else _by_task(task, by_row)
        within = task if isinstance(task, GroupTask) else None
        return [Asked(one, _answers(one, own), scoring, _left_out(one, own), within) for one, own in parts]

    def _run(self, subject: Subject, run: Mapping[str, Asked]) -> None:
        replay, began = self._replay, time.time()
        replay.answers = {name: one.answers for name, one in run.items()}
        scoring = next(iter(run.values())).scoring
        chat, system = scoring.apply_chat_template, scoring.system_prompt if scoring.apply_chat_template else None
        replay.chat(scoring)
        for one in run.values():
            one.task.set_fewshot_seed(seed=FEWSHOT_SEED)
        tracker = EvaluationTracker(output_path=str(self.out))
        args = {"pretrained": self.model.path, "dtype": self.model.dtype}
        args |= {"peft": subject.called} if subject.adapter_id else {}
        written = replay.chat_template(chat) if chat else None
        tracker.general_config_tracker.log_experiment_args("hf", args, system, written, chat)
        groups = {one.within.task_name: one.within.group for one in run.values() if one.within is not None}
        with ExitStack() as stack:
            for one in run.values():
                stack.enter_context(_without(one))
            results = evaluate(
                lm=replay,
                task_dict={"tasks": {name: one.task for name, one in run.items()}, "groups": groups, "group_map": {}},
                samples={name: list(one.answers.rows) for name, one in run.items()},
                bootstrap_iters=BOOTSTRAP_ITERATIONS,
                system_instruction=system,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,
            )
        samples = results.pop("samples")
        results |= {"config": self._config(args, subject), "date": began, **self._surroundings}
        add_tokenizer_info(results, replay)
        tracker.save_results_aggregated(results=results, samples=samples)
        for name in results["configs"]:
            tracker.save_results_samples(task_name=name, samples=samples[name])

    def _config(self, args: Mapping[str, str], subject: Subject) -> dict[str, Any]:
        """What lm-eval says of a model and how it ran; what a store does not know is null."""
        revision = self.model.revision or ""
        return {
            "model": "hf",
            "model_args": dict(args),
            "model_num_parameters": self.model.params,
            "model_dtype": self.model.dtype,
            "model_revision": revision or "main",
            "model_sha": revision,
            **({"peft_sha": subject.adapter_id} if subject.adapter_id else {}),
            "batch_size": None,
            "batch_sizes": [],
            "device": None,
            "use_cache": None,
            "limit": None,
            "bootstrap_iters": BOOTSTRAP_ITERATIONS,
            "gen_kwargs": None,
            "random_seed": None,
            "numpy_seed": None,
            "torch_seed": None,
            "fewshot_seed": FEWSHOT_SEED,
        }


def _by_task(group: GroupTask, by_row: Mapping[int, Answer]) -> list[tuple[Task, dict[int, Answer]]]:
    """The tasks of a group that have items, with the answers to these, by their rows there."""
    first, found = dict[int, int](), dict[int, dict[int, Answer]]()
    for row, document in enumerate(group.eval_docs):
        number = group.members.index(asker(group.members[0], document))
        start = first.setdefault(number, row)
        if row in by_row:
            found.setdefault(number, {})[row - start] = by_row[row]
    return [(group.members[number], own) for number, own in found.items()]


def _answers(task: Task, by_row: Mapping[int, Answer]) -> Answers:
    return Answers(sorted(by_row), by_row, task.OUTPUT_TYPE)


def _left_out(task: Task, by_row: Mapping[int, Answer]) -> str | None:
    """The metric that is left out, as a store does not keep what it is of. Raises TaskError where there is no other."""
    metric = _of_greedy(task, by_row.values())
    if metric is not None and len(task.aggregation()) == 1:
        raise TaskError(f"its {metric} is of what greedy decoding would write, which a store does not keep of it")
    return metric


def _of_greedy(task: Task, answers: Iterable[Answer]) -> str | None:
    """The metric that asks whether greedy decoding writes an option, where the answers do not say; None for none."""
    is_text = task.OUTPUT_TYPE == "loglikelihood"
    metric = {"multiple_choice": "exact_match", "loglikelihood": "acc"}.get(task.OUTPUT_TYPE)
    of_several = bool(task.multiple_target) and not is_text  # which of the right options it is of is not kept
    is_told = all((one.correct if is_text else one.exact) is not None for one in answers) and not of_several
    return None if is_told or metric not in task.aggregation() else metric


@contextmanager
def _without(asked: Asked) -> Iterator[None]:
    """Within, a task gives all its metrics but one."""
    lists = asked.task._metric_fn_list  # type: ignore[attr-defined]  # lm-eval has no other way
    before = dict(lists)
    lists.pop(str(asked.without), None)
    try:
        yield
    finally:
        lists.update(before)
