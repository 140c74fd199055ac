"""Items: the documents of a target, and what of a document's result no adapter changes: hash, gold option, lengths.

These are read once. Which lm-eval tasks can be scored at all is decided here too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from study.data.gold import BadGold, right_options
from study.data.group.task import members
from study.data.harness import Document, Instance, Task
from study.data.prints import doc_hash
from study.errors import TaskError

SUPPORTED = ("multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until")


@dataclass(frozen=True)
class Item:
    """One document of a target: what of its result row no adapter changes. `first` is its first request's number."""

    doc_id: int
    doc_hash: str
    gold: int
    option_chars: tuple[int, ...]
    doc: Document
    instances: tuple[Instance, ...]
    first: int

    @property
    def requests(self) -> range:
        """Numbers of its requests in the target."""
        return range(self.first, self.first + len(self.instances))


def check_supported(task: Task) -> None:
    """Raise TaskError for an lm-eval task that is not scored by log-likelihoods or by greedy answers to texts."""
    for one in members(task):
        _check_supported(one)


def _check_supported(task: Task) -> None:
    kind = task.OUTPUT_TYPE
    if kind not in SUPPORTED:
        raise TaskError(f"lm-eval task {task.task_name} has output_type {kind!r}; known are {', '.join(SUPPORTED)}")
    if kind == "generate_until" and (task.get_config("generation_kwargs") or {}).get("do_sample"):
        raise TaskError(f"lm-eval task {task.task_name} draws its answers at random; only greedy ones can be scored")
    if getattr(task, "MULTIMODAL", False) or task.get_config("doc_to_image") or task.get_config("doc_to_audio"):
        raise TaskError(f"lm-eval task {task.task_name} shows images or plays audio; only text can be scored")


def items_of(task: Task, instances: Sequence[Instance]) -> list[Item]:
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


def _options(task: Task, doc: Document, instances: Sequence[Instance]) -> list[str]:
    """The texts whose lengths normalise log-likelihoods: as lm-eval, without the delimiter before them."""
    if task.OUTPUT_TYPE == "generate_until":
        return []
    if task.OUTPUT_TYPE == "multiple_choice":
        return list(task.doc_to_choice(doc))
    return [instance.args[-1] for instance in instances]


def _gold(task: Task, doc: Document) -> int:
    """Number of the right option as `process_results` reads it: -1 where there is none, the first of several."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return -1
    try:
        return next(iter(right_options(task, doc)), -1)
    except BadGold:  # of a task that judges by itself: others have been refused
        return -1
