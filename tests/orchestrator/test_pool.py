"""The scoring pool on real actors: what an evaluator cannot have for now is tried again, alone, as often as allowed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from evaluators.evaluator import Scored
from orchestrator.backlog import Backlog
from orchestrator.cluster import Nodes, shape
from orchestrator.failures import Failure
from orchestrator.grid import expand
from orchestrator.pool import ScoringPool
from orchestrator.requests import StudyRequests
from orchestrator.schedule import Decision
from study.cells import Cell, Source
from study.load import parse
from study.models import Model
from study.store import Store
from study.tasks import TaskLibrary
from study.units import ScoreUnit


class Flaky:
    """An evaluator whose data of task/xx are out of reach once, those of task/yy always."""

    def __init__(self) -> None:
        self._asked: Counter[Cell] = Counter()

    def load(self, *_: object) -> None:
        """There is no model."""

    def score(self, units: tuple[ScoreUnit, ...], requests: object) -> list[Scored]:
        return [self._one(unit) for unit in units]

    def _one(self, unit: ScoreUnit) -> Scored:
        self._asked[unit.target] += 1
        language, seconds = unit.target.language, float(self._asked[unit.target])
        if language == "yy" or (language == "xx" and seconds == 1):
            return Scored(unit.score_id, False, "transient", "refused", "the traceback", 0.0, 0, 0)
        return Scored(unit.score_id, True, None, None, None, seconds, 0, 0)


@pytest.fixture
def cluster() -> Iterator[None]:
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_only_what_was_refused_is_tried_again_and_given_up_after_its_budget(cluster: None, tmp_path: Any) -> None:
    config = parse(
        "models: [{id: m}]\nlanguages: [ww, xx, yy]\ntasks: [{name: task, lm_eval: 't_{language}'}]\nsources: []\n"
        "evaluators: {resources: {CPU: 1}}\ntraining: {resources_per_worker: {CPU: 1}}\nfailures: {transient: 2}\n"
        "adapters: [{name: a, model: m, path: p}]"
    )
    model = Model("m", "m", None, "m", "float32", "m", 1.0, 10**9, False, ())
    cells = config.cells()
    grid = expand(config, [model], {Source.of([cells[0]]): ["s"]}, {cell: str(cell) for cell in cells})
    backlog = Backlog({"m": [1.0] * len(cells)}, grid.unit)
    backlog.add(part for part in grid.parts() if part.adapter is None)
    scored: dict[str, float] = {}
    failed: list[Failure] = []
    pool = ScoringPool(
        config,
        [model],
        Store(str(tmp_path)),
        backlog,
        StudyRequests(TaskLibrary.of(config), config.scoring, [model], print),
        {"m": 0.0},
        lambda unit, result: scored.update({unit.target.language: result.seconds}),
        lambda failure, unit: failed.append(failure),
        Nodes(shape(config), [], print),
        process=Flaky,
    )
    deadline = time.monotonic() + 60
    while not pool.is_idle and time.monotonic() < deadline:
        pool.step(Decision(0, 1, {"m": 1}), 0.1)
    pool.stop()
    assert scored == {"ww": 1.0, "xx": 2.0}  # ww was not asked for a second time
    (failure,) = failed
    assert (failure.kind, failure.attempts, failure.traceback) == ("transient", 3, "the traceback")
    assert "yy" in failure.unit
