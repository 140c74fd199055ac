"""Targets: one cell's items, ready to be scored by any adapter, and lm-eval's verdict on the model's responses.

What of a document's result no adapter changes (hash, gold option, lengths) is read once. Metrics come from the task's
own `process_results`, filters and aggregation, called in the order of `lm_eval.evaluator.evaluate`.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lm_eval.api.metrics import mean, stderr_for_metric

from study.data.example import doc_hash
from study.errors import TaskError

os.environ.setdefault("DISABLE_MULTIPROC", "1")  # lm-eval would start a process pool to bootstrap one metric

SUPPORTED = ("multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until")
BOOTSTRAP_ITERATIONS = 100  # where a standard error has no closed form: lm-eval's number for its costly metrics


# log-likelihood (nats) and whether greedy decoding writes it; log-likelihood of a whole text; a text that was written
Response = tuple[float, bool] | float | str


@dataclass(frozen=True)
class Item:
    """One document of a target: what of its result row no adapter changes. `first` is its first request's number."""

    doc_id: int
    doc_hash: str
    gold: int
    option_chars: tuple[int, ...]
    doc: Any
    instances: tuple[Any, ...]
    first: int

    @property
    def requests(self) -> range:
        """Numbers of its requests in the target."""
        return range(self.first, self.first + len(self.instances))


@dataclass(frozen=True)
class Verdict:
    """Result columns of one unit: a dict per item, and (metric, value, stderr, n_items) per metric."""

    items: list[dict[str, object]]
    metrics: list[tuple[str, float, float | None, int]]


def check_supported(task: Any) -> None:
    """Raise TaskError for an lm-eval task that is not scored by log-likelihoods or by greedy answers to texts."""
    kind = task.OUTPUT_TYPE
    if kind not in SUPPORTED:
        raise TaskError(f"lm-eval task {task.task_name} has output_type {kind!r}; known are {', '.join(SUPPORTED)}")
    if kind == "generate_until" and (task.get_config("generation_kwargs") or {}).get("do_sample"):
        raise TaskError(f"lm-eval task {task.task_name} draws its answers at random; only greedy ones can be scored")
    if getattr(task, "MULTIMODAL", False) or task.get_config("doc_to_image") or task.get_config("doc_to_audio"):
        raise TaskError(f"lm-eval task {task.task_name} shows images or plays audio; only text can be scored")


def items_of(task: Any, instances: Sequence[Any]) -> list[Item]:
    """The documents of a target, in order, from its instances. Raises TaskError."""
    by_doc: dict[int, list[int]] = defaultdict(list)
    for number, instance in enumerate(instances):
        by_doc[instance.doc_id].append(number)
    items = []
    for doc_id, numbers in by_doc.items():
        own = tuple(instances[number] for number in numbers)
        in_place = numbers == list(range(numbers[0], numbers[0] + len(own)))
        if not in_place or [instance.idx for instance in own] != list(range(len(own))):
            raise TaskError(f"document {doc_id}: its requests are not in order")
        doc = own[0].doc
        try:
            options, gold = _options(task, doc, own), _gold(task, doc)
        except Exception as error:  # the task author's templates and functions: anything can be raised
            raise TaskError(f"document {doc_id}: options cannot be read: {type(error).__name__}: {error}") from error
        items.append(Item(doc_id, doc_hash(doc), gold, tuple(len(text) for text in options), doc, own, numbers[0]))
    return items


def _options(task: Any, doc: Any, instances: Sequence[Any]) -> list[str]:
    """The texts whose lengths normalise log-likelihoods: as lm-eval, without the delimiter before them."""
    if task.OUTPUT_TYPE == "generate_until":
        return []
    if task.OUTPUT_TYPE == "multiple_choice":
        return list(task.doc_to_choice(doc))
    return [instance.args[-1] for instance in instances]


def _gold(task: Any, doc: Any) -> int:
    """Index of the right option as `process_results` reads it: -1 where there is none, the first of several."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return -1
    choices = list(task.doc_to_choice(doc))
    gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    if isinstance(gold, list):
        gold = gold[0] if gold else -1
    if isinstance(gold, str):
        return choices.index(gold) if gold in choices else -1
    return int(gold) if 0 <= gold < len(choices) else -1


def judge(task: Any, items: Sequence[Item], responses: Sequence[Response]) -> Verdict:
    """Result rows and metrics of a target. Responses are per request number.

    Raises TaskError when the task's own code fails on its data.
    """
    try:
        return _judge(task, items, responses)
    except TaskError:
        raise
    except Exception as error:  # process_results, filters and aggregations are the task author's code
        raise TaskError(f"lm-eval task {task.task_name}: metrics failed: {type(error).__name__}: {error}") from error


def _judge(task: Any, items: Sequence[Item], responses: Sequence[Response]) -> Verdict:
    for item in items:
        for number, instance in zip(item.requests, item.instances, strict=True):
            instance.resps = [responses[number]] * (instance.repeats or 1)
            instance.filtered_resps = {}
    task.apply_filters()
    filters = list(items[0].instances[0].filtered_resps)
    values: dict[str, list[Any]] = defaultdict(list)
    rows = []
    for position, key in enumerate(filters):
        for item in items:
            results = task.process_results(item.doc, [instance.filtered_resps[key] for instance in item.instances])
            for metric, value in results.items():
                values[metric if position == 0 else f"{metric},{key}"].append(value)
            if position == 0:
                rows.append(_row(item, [responses[number] for number in item.requests], results))
    return Verdict(rows, [_aggregate(task, metric, found) for metric, found in values.items()])


def _row(item: Item, responses: Sequence[Response], results: dict[str, Any]) -> dict[str, object]:
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


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float | np.number) else None


def _aggregate(task: Any, metric: str, values: list[Any]) -> tuple[str, float, float | None, int]:
    name = metric.partition(",")[0]
    function = task.aggregation().get(name, mean)
    estimate = stderr_for_metric(function, BOOTSTRAP_ITERATIONS)
    stderr = math.nan
    if estimate is not None and len(values) > 1:
        with contextlib.redirect_stdout(io.StringIO()):  # the bootstrap announces itself
            stderr = float(estimate(values))
    return metric, float(function(values)), stderr if math.isfinite(stderr) else None, len(values)
