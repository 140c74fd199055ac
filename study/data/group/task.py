"""An lm-eval group as one task: its tasks one after another, each document asked and judged by its own.

Invariant: what the group says of its metrics is computed by lm-eval's own `Group.aggregate` of what each of its tasks
comes to. A group that says nothing of them has no number, and is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, cast

from lm_eval.api.group import Group
from lm_eval.api.metrics import mean

from study.data.group.document import Doc, asker
from study.data.harness import Aggregation, Document, Documents, Instance, Task
from study.errors import TaskError

Values = Mapping[str, object]  # of a task's metrics, by lm-eval's keys `metric,filter`, and its `sample_len`


class GroupTask:
    """The tasks of a group, in lm-eval's order, as a task."""

    def __init__(self, group: Group) -> None:
        """Raises TaskError for a group that is no one number."""
        self.group, self.task_name = group, group.name
        self.members: tuple[Task, ...] = tuple(cast(Sequence[Task], group.get_all_tasks()))
        self._check()
        first = self.members[0]
        self.OUTPUT_TYPE, self.config = first.OUTPUT_TYPE, first.config
        self.features: Sequence[str] = _of_all(self.members)
        self.dataset: Mapping[str, Documents] = {
            f"{one.task_name}/{name}": rows for one in self.members for name, rows in one.dataset.items()
        }
        self.multiple_input, self.multiple_target = first.multiple_input, first.multiple_target
        self._filters = getattr(first, "_filters", ())

    def _check(self) -> None:
        named = f"lm-eval group {self.task_name}"
        if not self.members:
            raise TaskError(f"{named} has no tasks")
        if not self.group.aggregate_metric_list:
            fix = "name its tasks, or a group that has one"
            raise TaskError(f"{named} does not say what its tasks come to (no aggregate_metric_list): {fix}")
        for what, found in (
            ("output_type", {one.OUTPUT_TYPE for one in self.members}),
            ("filter_list", {", ".join(filter_names(one)) for one in self.members}),
        ):
            if len(found) > 1:
                raise TaskError(
                    f"{named} has tasks of several kinds ({what}: {'; '.join(sorted(found))}): name its tasks"
                )
        if not self.names:
            stated = ", ".join(one.metric for one in self.group.aggregate_metric_list)
            raise TaskError(f"{named} aggregates {stated}, which none of its tasks computes: name its tasks")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The metrics that the group aggregates, as results call them."""
        return tuple(dict.fromkeys(name for name, _ in self._stated()))

    @property
    def stated(self) -> object:
        """What the group's file says of its metrics, for its identity."""
        return [asdict(one) for one in self.group.aggregate_metric_list or ()]

    def weighs(self, name: str) -> bool:
        """Whether each item counts alike in a metric, as far as the group says; else each task does."""
        return any(own == name and by_size for own, by_size in self._stated())

    def _stated(self) -> list[tuple[str, bool]]:
        filters = filter_names(self.members[0])
        known = {name for one in self.members for name in one.aggregation()}
        return [
            (one.metric if key == filters[0] else f"{one.metric},{key}", one.weight_by_size is not False)
            for one in self.group.aggregate_metric_list or ()
            for key in (one.filter_list or filters)
            if one.metric in known
        ]

    def aggregate(self, values: Mapping[str, Values]) -> dict[str, tuple[float, float | None]]:
        """What the group comes to, with its standard error, by the names of its metrics, of each task's own."""
        found = cast(dict[str, Any], self.group.aggregate(cast(Any, values)))
        first, made = filter_names(self.members[0])[0], dict[str, tuple[float, float | None]]()
        for key, value in found.items():
            metric, _, filtered = key.partition(",")
            if filtered and not metric.endswith("_stderr"):
                error = found.get(f"{metric}_stderr,{filtered}")
                name = metric if filtered == first else key
                made[name] = float(value), error if isinstance(error, float) else None
        return made

    @cached_property
    def eval_docs(self) -> Documents:
        return [Doc(doc, one, number) for number, one in enumerate(self.members) for doc in one.eval_docs]

    @property
    def instances(self) -> list[Instance]:
        return self._instances

    @property
    def _instances(self) -> list[Instance]:
        return [one for member in self.members for one in member._instances or ()]

    @_instances.setter
    def _instances(self, instances: Sequence[Instance]) -> None:
        for member in self.members:
            member._instances = [one for one in instances if asker(cast(Task, self), one.doc) is member]

    def get_config(self, key: str) -> Any:
        if key == "num_fewshot":
            return max(int(one.get_config(key) or 0) for one in self.members)
        return self.members[0].get_config(key)

    def set_config(self, key: str, value: object) -> None:
        for one in self.members:
            one.set_config(key, value)

    def fewshot_docs(self) -> Documents | None:
        return self.members[0].fewshot_docs()

    def set_fewshot_seed(self, seed: int) -> None:
        for one in self.members:
            one.set_fewshot_seed(seed=seed)

    def build_all_requests(self, *, limit: int | None, samples: Collection[int] | None, **asked: Any) -> None:
        """Each task's own requests, of documents that are counted through the group."""
        start, known = 0, 0
        wanted = set(range(limit)) if limit is not None else None if samples is None else set(samples)
        for number, one in enumerate(self.members):
            count = len(one.eval_docs)
            own = list(range(count)) if wanted is None else [n for n in range(count) if start + n in wanted]
            if own:
                one.build_all_requests(limit=None, samples=set(own), **asked)
            else:
                one._instances = []
            for instance in one.instances:
                instance.doc, instance.doc_id = Doc(instance.doc, one, number), instance.doc_id + known
            start, known = start + count, known + len(own)

    def doc_to_text(self, doc: Document, doc_to_text: str | None = None) -> str | int:
        return self._asks(doc).doc_to_text(doc, *_if_any(doc_to_text))

    def doc_to_choice(self, doc: Document) -> Sequence[str]:
        return self._asks(doc).doc_to_choice(doc)

    def doc_to_prefix(self, doc: Document) -> str | None:
        return self._asks(doc).doc_to_prefix(doc)

    def doc_to_target(self, doc: Document, doc_to_target: str | None = None) -> str | int | list[int] | list[str]:
        return self._asks(doc).doc_to_target(doc, *_if_any(doc_to_target))

    def fewshot_context(self, doc: Document, num_fewshot: int, *, gen_prefix: str | None) -> str | list[str]:
        return self._asks(doc).fewshot_context(doc, num_fewshot=num_fewshot, gen_prefix=gen_prefix)

    def apply_filters(self) -> None:
        for one in self.members:
            if one.instances:
                one.apply_filters()

    def process_results(self, doc: Document, results: list[object]) -> Mapping[str, object]:
        return self._asks(doc).process_results(doc, results)

    def higher_is_better(self) -> Mapping[str, bool]:
        return {name: better for one in reversed(self.members) for name, better in one.higher_is_better().items()}

    def aggregation(self) -> Mapping[str, Aggregation]:
        """The group's metrics: what their tasks come to is averaged."""
        return {name.partition(",")[0]: cast(Aggregation, mean) for name in self.names}

    def _asks(self, doc: Document) -> Task:
        return asker(self.members[0], doc)  # a row of other data has no task: the first one's templates read it


def members(task: Task) -> tuple[Task, ...]:
    """The tasks that a task is made of: of a group each, else itself."""
    return task.members if isinstance(task, GroupTask) else (task,)


def filter_names(task: Task) -> list[str]:
    """Name a task's filters, in their order: the first one's metrics go by their plain names."""
    return [one.name for one in getattr(task, "_filters", ())] or ["none"]


def _of_all(tasks: Sequence[Task]) -> list[str]:
    return list(dict.fromkeys(name for one in tasks for name in one.features))


def _if_any(template: str | None) -> tuple[str, ...]:
    return () if template is None else (template,)
