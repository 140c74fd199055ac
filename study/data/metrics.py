"""Which metrics of a task count: those that it computes by itself, and those that a config's `tasks[].metric` adds.

Invariant: a name means what it means to lm-eval, direction and aggregation included; `name,filter` is the same after
one of the task's filters. Only OURS are ours, where the task has none: lm-eval's ROUGE knows the letters a to z alone.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from lm_eval.api.registry import get_metric, get_metric_aggregation, is_higher_better

from study.cells import Cell
from study.data.gold import judges_itself
from study.data.group.document import asker
from study.data.group.task import GroupTask, filter_names, members
from study.data.harness import Aggregation, Instance, Task
from study.errors import TaskError

OURS = ("rouge1", "rouge2", "rougeL", "script")  # of answers that are written, item by item; more is better
ADDED = {  # what lm-eval computes for each kind of task, once it is asked to
    "multiple_choice": ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "f1", "mcc", "brier_score"),
    "loglikelihood": ("acc", "perplexity"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "generate_until": ("exact_match", "bleu", "chrf", "chrf++", "ter"),
}
SPEAK = ("acc_norm", "acc", "exact_match")  # the first of these that a task computes, where the config names none
OF_ONE = ("bleu", "chrf", "chrf++", "ter")  # of answers that are written, where lm-eval takes one that is right
OF_ALL = ("f1", "mcc", "brier_score")  # of options: numbers of all items together


class _Lists(Protocol):
    """Where lm-eval's `ConfigurableTask` keeps its metrics."""

    _metric_fn_list: dict[str, Callable[..., object] | None]
    _metric_fn_kwargs: dict[str, dict[str, object]]
    _aggregation_list: dict[str, Aggregation | None]
    _higher_is_better: dict[str, bool | None]


def want(task: Task, cell: Cell, metrics: Sequence[str]) -> None:
    """Have a task compute the metrics that a config names. Raises TaskError for one that it cannot."""
    for metric in metrics:
        name, _, key = metric.partition(",")
        filters = filter_names(task)
        if key and key not in filters:
            raise _refused(cell, metric, f"its task has no filter {key!r}", filters)
        if isinstance(task, GroupTask):
            if plain_name(task, metric) not in task.names:
                raise _refused(cell, metric, "its group does not say what its tasks come to by it", task.names)
            continue
        if name not in task.higher_is_better() and name not in task.aggregation():
            _add(task, cell, name)


def check_possible(task: Task, cell: Cell, instances: Sequence[Instance]) -> None:
    """Raise TaskError for a metric of all items together that cannot be of such options, or of such right answers.

    It is computed of answers that are made up, each option in turn: what fails so would fail after all is trained.
    """
    for one in members(task):
        _check_possible(one, cell, [each for each in instances if asker(task, each.doc) is one])


def _check_possible(task: Task, cell: Cell, instances: Sequence[Instance]) -> None:
    if task.OUTPUT_TYPE == "generate_until" and task.multiple_target and not judges_itself(task):
        for name in OF_ONE:
            if name in task.aggregation():
                fix = f"use one of {', '.join(OURS[:3])} in tasks[{cell.task}].metric, or have doc_to_target give one"
                raise TaskError(f"{cell}: {name!r} is of one right answer, and its task gives several: {fix}")
    whole = {name: task.aggregation()[name] for name in OF_ALL if name in task.aggregation()}
    if not whole or task.OUTPUT_TYPE != "multiple_choice" or judges_itself(task):
        return
    counts, documents = Counter(one.doc_id for one in instances), {one.doc_id: one.doc for one in instances}
    answers = ([(-float(k != n % count), False) for k in range(count)] for n, count in enumerate(counts.values()))
    found = [task.process_results(documents[n], list(given)) for n, given in zip(counts, answers, strict=True)]
    for name, function in whole.items():
        try:
            with warnings.catch_warnings(action="ignore"):
                function([one[name] for one in found])
        except Exception as error:  # another's code, and what it raises
            reason = f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
            fix = f"leave it out of tasks[{cell.task}].metric, or of its task's metric_list"
            raise TaskError(
                f"{cell}: {name!r} cannot be computed of its options and answers ({reason}): {fix}"
            ) from error


def of_all_items(task: Task, wanted: Sequence[str]) -> str | None:
    """The metric that speaks for a task whose requests are built, where only all items together have it; else None."""
    named = [name.partition(",")[0] for name in wanted] or list(task.aggregation())
    head = next((name for name in (wanted[:1] or SPEAK) if name.partition(",")[0] in named), named[0] if named else "")
    if isinstance(task, GroupTask):
        counts = Counter(id(asker(task, doc)) for doc in {one.doc_id: one.doc for one in task.instances}.values())
        drawn = not task.weighs(head) and len(set(counts.values())) > 1
        return head if drawn or head.partition(",")[0] in (*OF_ALL, *OF_ONE) else None
    return head if head.partition(",")[0] in (*OF_ALL, *OF_ONE) and not judges_itself(task) else None


def plain_name(task: Task, metric: str) -> str:
    """What results call a metric: without the filter where that is the task's first."""
    name, _, key = metric.partition(",")
    return name if key in ("", filter_names(task)[0]) else metric


def _add(task: Task, cell: Cell, name: str) -> None:
    writes, own = task.OUTPUT_TYPE == "generate_until", judges_itself(task)
    if writes and name in OURS:
        return
    possible = () if own else ADDED.get(task.OUTPUT_TYPE, ())
    if name not in possible:
        which = "judges by code of its own" if own else f"is of {task.OUTPUT_TYPE}"
        known = dict.fromkeys([*task.aggregation(), *possible, *(OURS if writes else ())])
        raise _refused(cell, name, f"its task, which {which}, has no such metric", list(known))
    lists = cast(_Lists, task)
    lists._metric_fn_list[name] = get_metric(name)
    lists._metric_fn_kwargs[name] = {}
    lists._aggregation_list[name] = get_metric_aggregation(name)
    lists._higher_is_better[name] = is_higher_better(name)


def _refused(cell: Cell, metric: str, problem: str, known: Sequence[str]) -> TaskError:
    return TaskError(f"{cell}: tasks[{cell.task}].metric: {metric!r}: {problem}; use one of {', '.join(known)}")
