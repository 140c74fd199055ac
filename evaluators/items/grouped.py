"""What the tasks of a group come to, each and together: their items' values, and if the group's is a mean of these.

Invariant: the group's value is lm-eval's. It is a mean of items where each of its tasks averages them, and each item
counts alike, by the group's word or as all tasks have as many; else items are drawn, each task's apart (`redrawn`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from lm_eval.api.metrics import mean

from evaluators.items.bootstrap import draws
from evaluators.items.item import Item
from evaluators.items.metrics import Results, grade
from study.data.group.document import asker
from study.data.group.task import GroupTask, filter_names
from study.data.harness import Task


@dataclass(frozen=True, eq=False)
class Part:
    """One task of a group that has items: their places in the group, and their values of each metric."""

    task: Task
    places: list[int]
    values: dict[str, list[object]] = field(default_factory=lambda: defaultdict(list))

    @property
    def count(self) -> int:
        """As lm-eval counts its items: of the metric that most have."""
        return max((len(found) for found in self.values.values()), default=0)


def parts_of(group: GroupTask, items: Sequence[Item], results: Sequence[Results]) -> list[Part]:
    parts = {one: Part(one, []) for one in group.members}
    for place, (item, own) in enumerate(zip(items, results, strict=True)):
        part = parts[asker(group.members[0], item.doc)]
        part.places.append(place)
        for name, value in own.items():
            part.values[name].append(value)
    return [part for part in parts.values() if part.places]


def keyed(task: Task, found: Mapping[str, tuple[float, float | None]], count: int) -> dict[str, object]:
    """A task's metrics by lm-eval's keys, as its group reads them."""
    first, made = filter_names(task)[0], dict[str, object](sample_len=count)
    for name, (value, error) in found.items():
        metric, _, key = name.partition(",")
        made[f"{metric},{key or first}"] = value
        made[f"{metric}_stderr,{key or first}"] = "N/A" if error is None else error
    return made


def is_of_items(group: GroupTask, name: str, parts: Sequence[Part]) -> bool:
    """Whether the group's value of a metric is the mean of its items' values."""
    metric = name.partition(",")[0]
    averages = all(part.task.aggregation().get(metric, mean) is mean for part in parts)
    whole = all(len(part.values.get(name, ())) == len(part.places) for part in parts)
    numbers = all(grade(name, value, True)[0] is not None for part in parts for value in part.values.get(name, ()))
    return averages and whole and numbers and (group.weighs(name) or len({len(part.places) for part in parts}) == 1)


def redrawn(group: GroupTask, name: str, parts: Sequence[Part]) -> list[float] | None:
    """The group's value in draws of the items; None where a task has none for a part of its items."""
    has = [part for part in parts if len(part.values.get(name, ())) == len(part.places)]
    times_DN = draws(sum(len(part.places) for part in parts))
    metric, by_size = name.partition(",")[0], group.weighs(name)
    found = []
    try:
        for times_N in times_DN:
            values, sizes = [], []
            for part in has:
                times = times_N[part.places]
                drawn = [value for value, n in zip(part.values[name], times, strict=True) for _ in range(n)]
                if drawn:
                    values.append(float(part.task.aggregation().get(metric, mean)(drawn)))
                    sizes.append(len(drawn) if by_size else 1)
            found.append(float(np.average(values, weights=sizes)))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a task author's aggregation may need all items, as in `bootstrap`
        return None
    return found
