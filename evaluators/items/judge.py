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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from lm_eval.api.metrics import mean, stderr_for_metric

from evaluators.items.item import Item
from study.data.harness import Task
from study.errors import TaskError

os.environ.setdefault("DISABLE_MULTIPROC", "1")  # lm-eval would start a process pool to bootstrap one metric

# what an item's (log-likelihood in nats, length) of lm-eval's perplexities is in bits
BITS = {"bits_per_byte": "bits_per_byte", "byte_perplexity": "bits_per_byte", "word_perplexity": "bits_per_word"}
BOOTSTRAP_ITERATIONS = 100  # where a standard error has no closed form: lm-eval's number for its costly metrics


# log-likelihood (nats) and whether greedy decoding writes it; log-likelihood of a whole text; a text that was written
Response = tuple[float, bool] | float | str


@dataclass(frozen=True)
class Metric:
    """A metric over the items of a target, by lm-eval's name; `stderr` is None where it has none."""

    name: str
    value: float
    stderr: float | None
    n_items: int


@dataclass(frozen=True)
class Verdict:
    """lm-eval's verdict on one unit: the result columns of each item, and the metrics."""

    items: list[dict[str, object]]
    metrics: list[Metric]


def judge(task: Task, items: Sequence[Item], responses: Sequence[Response]) -> Verdict:
    """Result rows and metrics of a target. Responses are per request number.

    Raises TaskError when the task's own code fails on its data.
    """
    try:
        return _judge(task, items, responses)
    except TaskError:
        raise
    except Exception as error:  # process_results, filters and aggregations are the task author's code
        raise TaskError(f"lm-eval task {task.task_name}: metrics failed: {type(error).__name__}: {error}") from error


def _judge(task: Task, items: Sequence[Item], responses: Sequence[Response]) -> Verdict:
    for item in items:
        for number, instance in zip(item.requests, item.instances, strict=True):
            instance.resps = [responses[number]] * (instance.repeats or 1)
            instance.filtered_resps = {}
    task.apply_filters()
    filters = list(items[0].instances[0].filtered_resps)
    values: dict[str, list[object]] = defaultdict(list)
    rows = []
    for position, key in enumerate(filters):
        for item in items:
            results = task.process_results(item.doc, [instance.filtered_resps[key] for instance in item.instances])
            for metric, value in results.items():
                values[metric if position == 0 else f"{metric},{key}"].append(value)
            if position == 0:
                row = _row(item, [responses[number] for number in item.requests], results)
                rows.append(row | _graded(task, row, results))
    return Verdict(rows, [_aggregate(task, metric, found) for metric, found in values.items()])


def _row(item: Item, responses: Sequence[Response], results: Mapping[str, object]) -> dict[str, object]:
    lls = [response[0] if isinstance(response, tuple) else response for response in responses]
    own = np.asarray(lls[: len(item.option_chars)], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_char = own / np.asarray(item.option_chars, dtype=np.float64)
    pred, pred_norm = (int(np.argmax(own)), int(np.argmax(per_char))) if len(own) > 1 else (-1, -1)
    found = next((v for name in ("acc", "exact_match") if (v := _number(results.get(name))) is not None), None)
    return {
        "doc_id": item.doc_id,
        "doc_hash": item.doc_hash,
        "gold": item.gold,
        "pred": pred,
        "pred_norm": pred_norm,
        "correct": float(pred == item.gold) if found is None and item.gold >= 0 else found,
        "correct_norm": _number(results.get("acc_norm")),
        "loglikelihoods": own.tolist(),
        "option_chars": list(item.option_chars),
        "generation": responses[0] if isinstance(responses[0], str) else None,
    }


def _graded(task: Task, row: Mapping[str, object], results: Mapping[str, object]) -> dict[str, object]:
    """The item's first metric that is a number, so that more is better, where it has no accuracy."""
    none: dict[str, object] = {"graded": None, "graded_metric": None}
    if row["correct"] is not None or row["correct_norm"] is not None:
        return none
    for metric, bits in BITS.items():
        if isinstance(pair := results.get(metric), tuple):
            likelihood, length = pair
            return {"graded": likelihood / length / math.log(2), "graded_metric": bits} if length else none
    for metric, value in results.items():
        if (found := _number(value)) is not None:
            sign = 1 if task.higher_is_better().get(metric, True) else -1
            return {"graded": sign * found, "graded_metric": metric}
    return none


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float | np.number) else None


def _aggregate(task: Task, metric: str, values: list[object]) -> Metric:
    name = metric.partition(",")[0]
    function = task.aggregation().get(name, mean)
    estimate = stderr_for_metric(function, BOOTSTRAP_ITERATIONS)
    stderr = math.nan
    if estimate is not None and len(values) > 1:
        with contextlib.redirect_stdout(io.StringIO()):  # the bootstrap announces itself
            stderr = float(estimate(values))
    return Metric(metric, float(function(values)), stderr if math.isfinite(stderr) else None, len(values))
