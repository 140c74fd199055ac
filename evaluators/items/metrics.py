"""What an item's metrics say of it: its accuracy, or the metric it is graded by, and what is kept beside.

A metric that is no number for one item (a pair that only the whole corpus makes a score of) grades none: then the
target's value stands alone, with what it comes to in draws of the items (`bootstrap`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from evaluators.items.rouge import rouge
from evaluators.items.script import in_script
from study.data.gold import options_of
from study.data.group.document import asker
from study.data.harness import Document, Task
from study.data.metrics import OURS, SPEAK

# what an item's (log-likelihood in nats, length) of lm-eval's perplexities is in bits, and its log-likelihood alone
BITS = {"bits_per_byte": "bits_per_byte", "byte_perplexity": "bits_per_byte", "word_perplexity": "bits_per_word"}
ALONE = "perplexity"
PLAIN = ("acc", "exact_match", "acc_bytes", "acc_mutual_info")  # accuracies that divide by no length in characters
ACCURACIES = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match")
Results = Mapping[str, object]  # of an item, by lm-eval's name


def with_ours(task: Task, doc: Document, answers: Sequence[object], results: Results, wanted: Sequence[str]) -> Results:
    """An item's results under one filter, with ROUGE and the like that a config asks for and its task has not."""
    names = [name for name in dict.fromkeys(one.partition(",")[0] for one in wanted) if name in OURS]
    if task.OUTPUT_TYPE != "generate_until" or not set(names) - results.keys():
        return results
    first = answers[0]
    text, references = str(first[0] if isinstance(first, list) else first), _references(task, doc)
    found = {**rouge(text, references), "script": in_script(text, references)}
    return {**{name: found[name] for name in names}, **results}


def _references(task: Task, doc: Document) -> list[str]:
    task = asker(task, doc)
    target = task.doc_to_target(doc)
    if task.config.doc_to_choice is not None and isinstance(target, int):
        return [options_of(task, doc)[target]]
    return [str(one) for one in target] if isinstance(target, list | tuple) else [str(target)]


def headline(results: Sequence[Results]) -> str | None:
    """The metric that speaks for a target whose config names none: an accuracy, else one that items have, else any."""
    names = list(dict.fromkeys(name for one in results for name in one))
    graded = [
        name for name in names if any(grade(name, one[name], True)[0] is not None for one in results if name in one)
    ]
    graded.sort(key=lambda name: list(BITS).index(name) if name in BITS else -1)  # as `by_default` has it
    return next((name for name in (*SPEAK, *graded, *names) if name in names), None)


def stated(results: Results, name: str, better: bool) -> dict[str, object]:
    """The columns of an item that a config's headline metric fills."""
    value = number(results.get(name))
    if name.partition(",")[0] not in ACCURACIES:
        graded, metric = grade(name, results.get(name), better)
        return {"correct": None, "correct_norm": None, "graded": graded, "graded_metric": metric}
    normed = name == "acc_norm"
    plain = number(results.get("acc")) if normed else None
    correct = value if plain is None else plain
    return {"correct": correct, "correct_norm": value if normed else None, "graded": None, "graded_metric": None}


def by_default(results: Results, directions: Mapping[str, bool]) -> dict[str, object]:
    """The grade of an item without an accuracy: its first metric that is a number, so that more is better."""
    for metric in BITS:
        if isinstance(results.get(metric), tuple):
            return dict(zip(("graded", "graded_metric"), grade(metric, results[metric], False), strict=True))
    for metric, value in results.items():
        if number(value) is not None:
            better = directions.get(metric, True)
            return dict(zip(("graded", "graded_metric"), grade(metric, value, better), strict=True))
    return {"graded": None, "graded_metric": None}


def grade(name: str, value: object, better: bool) -> tuple[float | None, str | None]:
    """An item's value of a metric so that more is better, and what it is called; nothing where it has none."""
    plain = name.partition(",")[0]
    if plain in BITS and isinstance(value, tuple):
        likelihood, length = value
        return (likelihood / length / math.log(2), BITS[plain]) if length else (None, None)
    found = number(value)
    if found is None:
        return None, None
    if plain == ALONE:  # of which lm-eval takes the exponential for the corpus, so an item's is a log-likelihood
        return found / math.log(2), "bits"
    return (found if better else -found), name


def number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float | np.number) else None
