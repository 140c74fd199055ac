"""Where a study stands, by model: what of it is done, stale, left as failed, and to do.

The plan of a config says so, and so does a store by itself, of the config that was run last; both count alike. Done,
failed and to do add up to the grid. An adapter that failed takes its scores with it. Stale is what belongs to an older
config; failed is what the next run would leave as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from orchestrator.failures import lasting
from orchestrator.planning.plan import Plan
from study.identity import score_id
from study.store.coverage import Coverage
from study.store.readable import no_study
from study.store.records import FailureRecord, StudyFile
from study.store.store import Store


@dataclass(frozen=True)
class Tally:
    done: int
    stale: int
    failed: int
    todo: int


@dataclass(frozen=True)
class Standing:
    model: str
    adapters: Tally
    scores: Tally


@dataclass(frozen=True)
class Left:
    """What a store's grid still asks for. Rows are its subjects, columns its targets.

    `subjects` has the columns of study.store.schema.SUBJECTS; `train` are those to train, `score` the scores to make.
    """

    subjects: pl.DataFrame
    targets: pl.DataFrame
    train: np.ndarray
    score: np.ndarray


def of_plan(plan: Plan) -> list[Standing]:
    adapters = Counter(unit.model for unit in plan.grid.adapters)
    scores: Counter[str] = Counter()
    for part in plan.grid.parts():
        scores[part.model.name] += len(part.targets)
    train, score = plan.counts()
    return [
        Standing(
            name,
            _tally(adapters[name], plan.stale_adapters[name], plan.left_adapters[name], train[name]),
            _tally(scores[name], plan.stale_scores[name], plan.left_scores[name], score[name]),
        )
        for name in (model.name for model in plan.grid.models)
    ]


def of_store(store: Store, study: StudyFile) -> tuple[list[Standing], Left]:
    """The same from a store and what its study.yaml says. Raises ConfigError for one without a grid."""
    grid = store.read_grid()
    if grid is None:
        raise no_study("STORE", store.uri)
    subjects, targets = (pl.DataFrame(pl.from_arrow(table)) for table in grid)
    trained, failures = store.trained(), lasting(store.failures())
    names = subjects["subject_id"].to_list()
    coverage = Coverage(names, targets["target_id"].to_list(), store.scored())
    missing = ~coverage.there
    ours = subjects["seed"].is_not_null().to_numpy()  # others are a base, or were trained elsewhere
    wanted = missing.any(axis=1) if len(targets) else np.ones(len(names), dtype=bool)
    train = ours & wanted & ~np.array([name in trained for name in names], dtype=bool)
    lost = train & np.array([name in failures for name in names], dtype=bool)
    failed = missing & (lost[:, None] | _failed_scores(subjects, targets, failures, study))
    models = subjects["model"].to_numpy()
    stale_scores = coverage.stale()
    stale = Counter(trained[name] for name in trained.keys() - set(subjects.filter(ours)["subject_id"]))
    rows = []
    for model in dict.fromkeys(models.tolist()):
        own = models == model
        adapters = int((ours & own).sum()), stale[model], int((lost & own).sum()), int((train & ~lost & own).sum())
        left = int((missing & ~failed)[own].sum())
        scores = int(own.sum()) * len(targets), stale_scores[model], int(failed[own].sum()), left
        rows.append(Standing(model, _tally(*adapters), _tally(*scores)))
    return rows, Left(subjects, targets, train & ~lost, missing & ~failed)


def _tally(everything: int, stale: int, failed: int, todo: int) -> Tally:
    return Tally(everything - failed - todo, stale, failed, todo)


def _failed_scores(
    subjects: pl.DataFrame, targets: pl.DataFrame, failures: Mapping[str, FailureRecord], study: StudyFile
) -> np.ndarray:
    """Which scores have failed, found by their names and held to their identities."""
    result: np.ndarray = np.zeros((len(subjects), len(targets)), dtype=bool)
    named = {unit_id: failure.unit.rpartition(" on ") for unit_id, failure in failures.items()}
    scores = {unit_id: (subject, cell) for unit_id, (subject, _, cell) in named.items() if subject}
    if not scores:
        return result
    given = {entry.adapter_id: entry.name for entry in study.adapters}
    rows = {_name(row, given): number for number, row in enumerate(subjects.iter_rows(named=True))}
    cells = targets.iter_rows(named=True)
    columns = {f"{row['target_task']}/{row['target_language']}": number for number, row in enumerate(cells)}
    for unit_id, (subject, cell) in scores.items():
        row, column = rows.get(subject), columns.get(cell)
        if row is not None and column is not None:
            result[row, column] = score_id(subjects["subject_id"][row], targets["target_id"][column]) == unit_id
    return result


def _name(subject: Mapping[str, Any], given: Mapping[str, str]) -> str:
    """What failures call a subject: as study.units does."""
    if subject["adapter_id"] is None:
        return f"{subject['model']}/base"
    if subject["seed"] is None:
        return f"{subject['model']}/existing/{given.get(subject['adapter_id'])}"
    return f"{subject['model']}/{subject['source_task']}/[{subject['source_language']}]/{subject['seed']}"
