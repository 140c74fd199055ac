"""How long what is left of a study will take, from its store alone: by what its own units have taken.

A score takes what others on its target took, an adapter what others of its source took; where there are none, the mean
of the model; a model without any goes by the others and its parameters outside embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from orchestrator.costs.devices import held, kind, kind_of_device
from orchestrator.planning.standing import ToDo
from study.store.parts import undisturbed
from study.store.records import StudyFile
from study.store.store import Store


def seconds_left(store: Store, study: StudyFile, to_do: ToDo) -> dict[str, float | None]:
    """Device seconds by model; None where nothing tells them. `study` is what the store's study.yaml says."""
    body = study.bodies
    parts = (_training(store, to_do, study.trainer_resources), _scoring(to_do, study.evaluator_resources))
    result: dict[str, float | None] = {}
    for model in dict.fromkeys(to_do.subjects["model"].to_list()):
        known = [_of_model(counts_of[model], seen, model, body) for counts_of, seen in parts]
        result[model] = None if any(seconds is None for seconds in known) else sum(s or 0.0 for s in known)
    return result


Counts = dict[str, dict[str, int]]  # by model: how many units of each source or target
Took = dict[str, dict[str, list[float]]]  # by model: what units of each took


def _of_model(counts_of: Mapping[str, int], seen: Took, model: str, body: Mapping[str, int]) -> float | None:
    """Seconds of a model's units that are to do in a stage."""
    if not any(counts_of.values()):
        return 0.0
    own = seen.get(model, {})
    mean = _mean([seconds for took in own.values() for seconds in took])
    if mean is None and body.get(model):
        others = [(seconds, body[name]) for name in seen if body.get(name) for seconds in seen[name].values()]
        speed = _mean([each / size for seconds, size in others for each in seconds])
        mean = None if speed is None else speed * body[model]
    if mean is None:
        return None
    return sum(count * (_mean(own.get(what, ())) or mean) for what, count in counts_of.items())


def _mean(some: Sequence[float]) -> float | None:
    return sum(some) / len(some) if some else None


def _training(store: Store, to_do: ToDo, resources: Mapping[str, float]) -> tuple[Counts, Took]:
    names = ["subject_id", "model", "source_task", "source_language", "source_size"]
    source: dict[str, str] = {}
    counts_of: Counts = {}
    took: Took = {}
    rows = to_do.subjects.select(names).iter_rows()
    for (subject, model, *named), train in zip(rows, to_do.train, strict=True):
        source[subject] = "/".join(map(str, named))
        counts = counts_of.setdefault(model, {})
        counts[source[subject]] = counts.get(source[subject], 0) + bool(train)
    for adapter_id, record in undisturbed(store.records).items():
        if adapter_id in source and kind_of_device(record.conditions.device) == kind(resources):
            seconds = record.course.seconds * record.conditions.world_size * held(resources)
            took.setdefault(record.model, {}).setdefault(source[adapter_id], []).append(seconds)
    return counts_of, took


def _scoring(to_do: ToDo, resources: Mapping[str, float]) -> tuple[Counts, Took]:
    targets, models = to_do.targets["target_id"].to_list(), to_do.subjects["model"].to_numpy()
    counts_of: Counts = {}
    for model in dict.fromkeys(models.tolist()):
        counts: np.ndarray = to_do.score[models == model].sum(axis=0)
        counts_of[model] = dict(zip(targets, counts.tolist(), strict=True))
    took: Took = {}
    rows = to_do.took
    for row in rows.filter(pl.col("target_id").is_in(targets)).iter_rows(named=True) if len(rows) else ():
        if kind_of_device(row["device"]) == kind(resources):
            each = row["seconds"] / row["len"] * held(resources)
            took.setdefault(row["model"], {}).setdefault(row["target_id"], []).append(each)
    return counts_of, took
