"""lm-eval's verdict on a model's responses: a row per item, and the target's metrics.

Metrics come from the task's own `process_results`, filters and aggregation, called in the order of
`lm_eval.evaluator.evaluate`.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from lm_eval.api.metrics import mean, stderr_for_metric

from evaluators.items.bootstrap import replicates
from evaluators.items.grouped import is_of_items, keyed, parts_of, redrawn
from evaluators.items.item import Item
from evaluators.items.metrics import PLAIN, Results, by_default, grade, headline, number, stated, with_ours
from study.data.group.document import asker
from study.data.group.task import GroupTask
from study.data.harness import Task
from study.data.metrics import OURS, SPEAK, plain_name
from study.errors import TaskError

os.environ.setdefault("DISABLE_MULTIPROC", "1")  # lm-eval would start a process pool to bootstrap one metric

BOOTSTRAP_ITERATIONS = 100  # where a standard error has no closed form: lm-eval's number for its costly metrics


# log-likelihood (nats) and whether greedy decoding writes it; log-likelihood of a whole text; a text that was written
Response = tuple[float, bool] | float | str


@dataclass(frozen=True)
class Metric:
    """A metric over the items of a target, by lm-eval's name; `stderr` is None where it has none.

    `higher_is_better` is None where its task does not say; the headline speaks for the target. `replicates` are its
    values in draws of the items, where no item has one.
    """

    name: str
    value: float
    stderr: float | None
    n_items: int
    higher_is_better: bool | None
    headline: bool
    replicates: list[float] | None


@dataclass(frozen=True)
class Verdict:
    """lm-eval's verdict on one unit: the result columns of each item, and the metrics."""

    items: list[dict[str, object]]
    metrics: list[Metric]


def judge(task: Task, items: Sequence[Item], responses: Sequence[Response], wanted: Sequence[str] = ()) -> Verdict:
    """Result rows and metrics of a target. Responses are per request number; `wanted` the metrics of the config.

    Raises TaskError when the task's own code fails on its data.
    """
    try:
        return _judge(task, items, responses, [plain_name(task, name) for name in wanted])
    except TaskError:
        raise
    except Exception as error:  # process_results, filters and aggregations are the task author's code
        raise TaskError(f"lm-eval task {task.task_name}: metrics failed: {type(error).__name__}: {error}") from error


def _judge(task: Task, items: Sequence[Item], responses: Sequence[Response], wanted: Sequence[str]) -> Verdict:
    results = _results(task, items, responses, wanted)
    if missing := [name for name in wanted if not any(name in one for one in results)]:
        known = ", ".join(dict.fromkeys(name for one in results for name in one))
        raise TaskError(f"lm-eval task {task.task_name} has given no {missing[0]}; it gives {known}: name one of them")
    rows = [
        _row(item, [responses[place] for place in item.requests], own, wanted)
        for item, own in zip(items, results, strict=True)
    ]
    rows = [row | _graded(task, row, own, wanted) for row, own in zip(rows, results, strict=True)]
    if isinstance(task, GroupTask):
        return _of_group(task, items, rows, results, wanted)
    head = wanted[0] if wanted else headline(results)
    drawn = {name for name in [*wanted, head] if name and not _is_of_items(task, results, name)}
    values: dict[str, list[object]] = defaultdict(list)
    for own in results:
        for metric, value in own.items():
            values[metric].append(value)
    return Verdict(rows, [_aggregate(task, name, found, name == head, name in drawn) for name, found in values.items()])


def _of_group(
    task: GroupTask,
    items: Sequence[Item],
    rows: list[dict[str, object]],
    results: Sequence[Results],
    wanted: Sequence[str],
) -> Verdict:
    """The group's metrics as its file says, and those of its tasks, which go by their names behind an @.

    Items have the headline where it is a mean of theirs; else it is drawn, as what all items together have.
    """
    parts = parts_of(task, items, results)
    each = {
        part.task.task_name: [_aggregate(part.task, name, found, False, False) for name, found in part.values.items()]
        for part in parts
    }
    found = task.aggregate(
        {
            part.task.task_name: keyed(
                part.task, {one.name: (one.value, one.stderr) for one in each[part.task.task_name]}, part.count
            )
            for part in parts
        }
    )
    head = next((name for name in (wanted or SPEAK) if name in found), next(iter(found), None))
    metrics = []
    for name, (value, stderr) in found.items():
        counted = sum(len(part.values.get(name, ())) for part in parts)
        is_drawn = (name == head or name in wanted) and not is_of_items(task, name, parts)
        drawn = redrawn(task, name, parts) if is_drawn else None
        metrics.append(Metric(name, value, stderr, counted, _is_better_higher(task, name), name == head, drawn))
    has = head if head is not None and is_of_items(task, head, parts) else ""
    better = _is_better_higher(task, has) is not False
    rows = [
        row | stated(one, has, better) | {"subtask": asker(task, item.doc).task_name}
        for row, one, item in zip(rows, results, items, strict=True)
    ]
    own = [replace(one, name=f"{one.name}@{name}") for name, metrics_of in each.items() for one in metrics_of]
    return Verdict(rows, [*metrics, *own])


def _results(
    task: Task, items: Sequence[Item], responses: Sequence[Response], wanted: Sequence[str]
) -> list[dict[str, object]]:
    """What `process_results` says of each item, after every filter; the first one's metrics go by their plain names."""
    for item in items:
        for place, instance in zip(item.requests, item.instances, strict=True):
            instance.resps = [responses[place]] * (instance.repeats or 1)
            instance.filtered_resps = {}
    task.apply_filters()
    results: list[dict[str, object]] = [{} for _ in items]
    for position, key in enumerate(list(items[0].instances[0].filtered_resps)):
        for item, own in zip(items, results, strict=True):
            answers = [instance.filtered_resps[key] for instance in item.instances]
            found = with_ours(task, item.doc, answers, task.process_results(item.doc, answers), wanted)
            own.update({name if position == 0 else f"{name},{key}": value for name, value in found.items()})
    return results


def _row(item: Item, responses: Sequence[Response], results: Results, wanted: Sequence[str]) -> dict[str, object]:
    lls = [response[0] if isinstance(response, tuple) else response for response in responses]
    own = np.asarray(lls[: len(item.option_chars)], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_char = own / np.asarray(item.option_chars, dtype=np.float64)
    pred, pred_norm = (int(np.argmax(own)), int(np.argmax(per_char))) if len(own) > 1 else (-1, -1)
    found = next((v for name in PLAIN if (v := number(results.get(name))) is not None), None)
    if found is None and item.gold >= 0 and number(results.get("acc_norm")) is not None:
        found = float(pred == item.gold)
    return {
        "doc_id": item.doc_id,
        "doc_hash": item.doc_hash,
        "subtask": None,
        "gold": item.gold,
        "pred": pred,
        "pred_norm": pred_norm,
        "correct": found,
        "correct_norm": number(results.get("acc_norm")),
        "loglikelihoods": own.tolist(),
        "option_chars": list(item.option_chars),
        "generation": responses[0] if isinstance(responses[0], str) else None,
        "metrics": _kept(results, wanted) or None,
    }


def _graded(task: Task, row: Results, results: Results, wanted: Sequence[str]) -> dict[str, object]:
    """The columns of the metric that the config names, or of the first where an item has no accuracy."""
    if wanted:
        return stated(results, wanted[0], _is_better_higher(task, wanted[0]) is not False)
    if row["correct"] is None and row["correct_norm"] is None:
        return by_default(results, task.higher_is_better())
    return {"graded": None, "graded_metric": None}


def _kept(results: Results, wanted: Sequence[str]) -> list[dict[str, object]]:
    """The metrics that the config names, as far as the item has them, as they are."""
    found = {name: grade(name, results.get(name), True)[0] for name in wanted}
    return [{"name": name, "value": value} for name, value in found.items() if value is not None]


def _is_of_items(task: Task, results: Sequence[Results], name: str) -> bool:
    return any(grade(name, one[name], True)[0] is not None for one in results if name in one)


def _is_better_higher(task: Task, metric: str) -> bool | None:
    name = metric.partition(",")[0]
    return task.higher_is_better().get(name, True if name in OURS else None)


def _aggregate(task: Task, metric: str, values: list[object], is_headline: bool, is_drawn: bool) -> Metric:
    function = task.aggregation().get(metric.partition(",")[0], mean)
    estimate = stderr_for_metric(function, BOOTSTRAP_ITERATIONS)
    stderr = math.nan
    if estimate is not None and len(values) > 1:
        with contextlib.redirect_stdout(io.StringIO()):  # the bootstrap announces itself
            stderr = float(estimate(values))
    return Metric(
        metric,
        float(function(values)),
        stderr if math.isfinite(stderr) else None,
        len(values),
        _is_better_higher(task, metric),
        is_headline,
        replicates(function, values) if is_drawn else None,
    )
