"""How long what is left of a study will take, from its store alone: by what its own units have taken.

A score takes what others on its target took, an adapter what others of its source took; where there are none, the mean
of the model; a model without any goes by the others and its parameters outside embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from orchestrator.costs.devices import held, kind, kind_of
from orchestrator.costs.measured import scored
from orchestrator.planning.standing import Left
from study.store.records import StudyFile
from study.store.store import Store


def seconds_left(store: Store, study: StudyFile, left: Left) -> dict[str, float | None]:
    """Device seconds by model; None where nothing tells them. `study` is what the store's study.yaml says."""
    body = study.bodies
    parts = (_training(store, left, study.trainer_resources), _scoring(store, left, study.evaluator_resources))
    result: dict[str, float | None] = {}
    for model in dict.fromkeys(left.subjects["model"].to_list()):
        known = [_of_model(todo[model], seen, model, body) for todo, seen in parts]
        result[model] = None if any(seconds is None for seconds in known) else sum(s or 0.0 for s in known)
    return result


Todo = dict[str, dict[str, int]]  # by model: how many units of each source or target
Took = dict[str, dict[str, list[float]]]  # by model: what units of each took


def _of_model(todo: Mapping[str, int], seen: Took, model: str, body: Mapping[str, int]) -> float | None:
    """Seconds of a model's units that are to do in a stage."""
    if not any(todo.values()):
        return 0.0
    own = seen.get(model, {})
    mean = _mean([seconds for took in own.values() for seconds in took])
    if mean is None and body.get(model):
        others = [(seconds, body[name]) for name in seen if body.get(name) for seconds in seen[name].values()]
        speed = _mean([each / size for seconds, size in others for each in seconds])
        mean = None if speed is None else speed * body[model]
    if mean is None:
        return None
    return sum(count * (_mean(own.get(what, ())) or mean) for what, count in todo.items())


def _mean(some: Sequence[float]) -> float | None:
    return sum(some) / len(some) if some else None


def _training(store: Store, left: Left, resources: Mapping[str, float]) -> tuple[Todo, Took]:
    names = ["subject_id", "model", "source_task", "source_language"]
    source: dict[str, str] = {}
    todo: Todo = {}
    took: Took = {}
    rows = left.subjects.select(names).iter_rows()
    for (subject, model, task, language), train in zip(rows, left.train, strict=True):
        source[subject] = f"{task}/{language}"
        counts = todo.setdefault(model, {})
        counts[source[subject]] = counts.get(source[subject], 0) + bool(train)
    for adapter_id, record in store.records().items():
        if adapter_id in source and kind_of(record.conditions.device) == kind(resources):
            seconds = record.course.seconds * record.conditions.world_size * held(resources)
            took.setdefault(record.model, {}).setdefault(source[adapter_id], []).append(seconds)
    return todo, took


def _scoring(store: Store, left: Left, resources: Mapping[str, float]) -> tuple[Todo, Took]:
    targets, models = left.targets["target_id"].to_list(), left.subjects["model"].to_numpy()
    todo: Todo = {}
    for model in dict.fromkeys(models.tolist()):
        counts: np.ndarray = left.score[models == model].sum(axis=0)
        todo[model] = dict(zip(targets, counts.tolist(), strict=True))
    took: Took = {}
    rows = scored(store)
    for row in rows.filter(pl.col("target_id").is_in(targets)).iter_rows(named=True) if len(rows) else ():
        if kind_of(row["device"]) == kind(resources):
            each = row["seconds"] / row["len"] * held(resources)
            took.setdefault(row["model"], {}).setdefault(row["target_id"], []).append(each)
    return todo, took
