"""The scoring pool on real actors: what fails is tried again, alone where need be, and takes nothing else with it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from evaluators.scored import Scored
from orchestrator.cluster.beats import beats
from orchestrator.cluster.nodes import Nodes, shape
from orchestrator.cluster.stacks import processes
from orchestrator.failures import Hung
from orchestrator.planning.grid import expand
from orchestrator.scheduling.backlog import Backlog
from orchestrator.scheduling.decide import Decision
from orchestrator.scheduling.waits import Waits
from orchestrator.scoring.actor import Evaluators, ScoringContext
from orchestrator.scoring.pool import ScoringPool
from orchestrator.scoring.requests import StudyRequests
from study.cells import Cell, Source
from study.config.file import parse
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from study.models.resolve import Model
from study.store.records import FailureRecord
from study.store.store import Store
from study.units import ScoreUnit
from tests.support.local_ray import local_ray
from tests.support.stand_ins import Broken, Flaky, Freezing, Held, Late, Poisoned, Stubborn
from tests.support.tiny_world import REPOSITORY


class NoTasks(TaskLibrary):
    """Tasks whose requests nobody needs."""

    def load(self, cell: Cell) -> Any:
        raise TaskError("no data")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_ray(cpus=4):
        yield


@dataclass
class Told:
    """What a pool tells of its units: the seconds of each score, by its target's language."""

    seconds: dict[str, float] = field(default_factory=dict)
    failures: list[FailureRecord] = field(default_factory=list)
    hangs: list[Hung] = field(default_factory=list)

    def scored(self, unit: ScoreUnit, result: Scored, around: float) -> None:
        self.seconds[unit.target.language] = result.seconds

    def score_failed(self, failure: FailureRecord, unit: ScoreUnit) -> None:
        self.failures.append(failure)

    def hung(self, error: Hung) -> None:
        self.hangs.append(error)


@dataclass
class Run:
    pool: ScoringPool
    scored: dict[str, float]
    failed: list[FailureRecord]
    hangs: list[Hung]
    changed: list[tuple[str, bool]]

    def to_its_end(self, actors: int) -> None:
        deadline = time.monotonic() + 600
        while not self.pool.is_idle and time.monotonic() < deadline:
            self.pool.step(Decision(0, actors, {"m": actors}), 0.1)
        assert self.pool.is_idle


@pytest.fixture
def start(cluster: None, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def make(
        process: type, languages: list[str], failures: str = "{}", names: str = "m", waits: Waits | None = None
    ) -> Run:
        ids = ", ".join(f"{{id: {name}}}" for name in names)
        config = parse(
            f"store: {tmp_path}/store\nmodels: [{ids}]\nlanguages: [{', '.join(languages)}]\nsources: []\n"
            f"tasks: [{{name: task, lm_eval: 't_{{language}}'}}]\nevaluators: {{resources: {{CPU: 1}}}}\n"
            f"training: {{resources_per_worker: {{CPU: 1}}}}\nfailures: {failures}\n"
            "adapters: [{name: a, model: m, path: p}]"
        )
        path, rest = f"{REPOSITORY}/examples/quickstart/polyglot-nano", ("float32", "m", 1.0, 10**9, False, ())
        models = [Model(name, path, None, name, *rest) for name in names]
        cells = config.cells()
        grid = expand(config, models, {Source.of([cells[0]]): ["s"]}, {cell: str(cell) for cell in cells})
        backlog = Backlog({name: [1.0] * len(cells) for name in names}, grid.unit)
        backlog.add(part for part in grid.parts() if part.adapter is None)
        told, changed = Told(), list[tuple[str, bool]]()
        context = ScoringContext(config, Store(config.store))
        pool = ScoringPool(
            Evaluators(context, {model.name: model for model in models}, dict.fromkeys(names, 0.0), process),
            backlog,
            StudyRequests(NoTasks.of(config), models, lambda _: None),
            told,
            Nodes(shape(config), [], lambda *change: changed.append(change)),
            waits,
        )
        runs.append(Run(pool, told.seconds, told.failures, told.hangs, changed))
        return runs[-1]

    yield make
    for run in runs:
        run.pool.stop()


def many(count: int) -> list[str]:
    return [f"l{i}" for i in range(count)]


def test_only_what_was_refused_is_tried_again_and_given_up_after_its_budget(start: Callable[..., Run]) -> None:
    run = start(Flaky, ["ww", "xx", "yy"], "{transient: 2}")
    run.to_its_end(1)
    assert run.scored == {"ww": 1.0, "xx": 2.0}  # ww was not asked for a second time
    (failure,) = run.failed
    assert (failure.kind, failure.attempts, failure.traceback) == ("transient", 3, "the traceback")
    assert "yy" in failure.unit


def test_a_process_whose_device_has_failed_gets_no_more_work(start: Callable[..., Run]) -> None:
    run = start(Broken, many(12))
    run.to_its_end(1)
    assert (run.scored.keys(), run.failed) == (set(many(12)), [])
    assert len(set(run.scored.values())) > 2  # processes
    assert run.changed == []  # the only node is not excluded


def test_one_unit_that_fails_takes_no_other_with_it(start: Callable[..., Run]) -> None:
    run = start(Poisoned, many(24))
    run.to_its_end(2)
    assert run.scored.keys() == {*many(24)} - {"l7"}
    (failure,) = run.failed
    assert (failure.kind, failure.message) == ("bug", "ZeroDivisionError: a bug that one unit brings out")
    assert "l7" in failure.unit


def test_evaluators_that_meet_the_same_trouble_when_they_start_are_one_failure(start: Callable[..., Run]) -> None:
    run = start(Late, many(24), "{transient: 3}")
    run.to_its_end(4)
    assert (len(run.scored), run.failed) == (24, [])


def test_idle_evaluators_give_way_one_by_one_to_a_trial_that_finds_no_place(start: Callable[..., Run]) -> None:
    run = start(Late, many(8), "{transient: 3}", waits=Waits(give_way_s=1.0))
    run.to_its_end(4)
    have = run.pool.actors().total()
    assert have > 1
    time.sleep(1.0)  # an evaluator that could not be started has freed a place
    run.pool.step(Decision(1, 4, {"m": 4}), 0.0, starved=True)
    run.pool.step(Decision(1, 4, {"m": 4}), 0.0, starved=True)
    assert run.pool.actors().total() == have - 1  # whether that was it is not known yet
    for left in range(have - 2, -1, -1):
        time.sleep(1.0)
        run.pool.step(Decision(1, 4, {"m": 4}), 0.0, starved=True)
        assert run.pool.actors().total() == left
    run.pool.step(Decision(1, 4, {"m": 4}), 0.0)
    assert run.pool.actors().total() == 4


def test_a_place_that_has_just_come_free_costs_no_second_evaluator(start: Callable[..., Run]) -> None:
    run = start(Flaky, many(8))
    run.to_its_end(4)
    run.pool.step(Decision(1, 3, {"m": 3}), 0.0, starved=True)  # one too many: it goes, as it would have
    assert run.pool.actors().total() == 3


def test_a_trial_that_waits_for_busy_evaluators_costs_no_idle_one(start: Callable[..., Run]) -> None:
    """One of two busy evaluators is too many: its place is the trial's as soon as it has ended."""
    run = start(Held, many(4), names="mn", waits=Waits(give_way_s=0.0))
    deadline = time.monotonic() + 600
    while (run.pool.busy, len(run.scored)) != (2, 4):  # both of m, and n has nothing left to do
        assert time.monotonic() < deadline
        run.pool.step(Decision(0, 3, {"m": 2, "n": 1}), 0.1)
    run.pool.step(Decision(1, 2, {"m": 1, "n": 1}), 0.0, starved=True)
    assert run.pool.actors() == {"m": 2, "n": 1}


def test_a_process_that_is_stopped_is_looked_at_killed_and_replaced_and_one_that_takes_long_is_not(
    start: Callable[..., Run],
) -> None:
    run = start(Freezing, ["xx"], "{hung_after_s: 4}")
    run.to_its_end(1)
    assert (run.scored, run.failed) == ({"xx": 3}, [])
    assert ["loading" in hang.file for hang in run.hangs] == [True, False]
    for hang in run.hangs:
        assert b"State:\tT (stopped)" in hang.found
        assert b"stand_ins.py" in hang.found or b"no stacks: " in hang.found


def test_a_stopped_process_that_is_not_wanted_any_more_is_gone(start: Callable[..., Run]) -> None:
    """It was asked to go, which it could not hear: it kept its device after the study had ended."""
    run = start(Freezing, ["xx"])
    run.pool.step(Decision(0, 1, {"m": 1}), 0.1)
    (actor,) = run.pool._actors
    wait_for(lambda: processes([actor.handle]))
    ((_, pid),) = processes([actor.handle])
    wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    run.pool.step(Decision(0, 0, {}), 0.1)
    assert run.pool.actors().total() == 0
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 30)
    assert beats([actor.handle._actor_id.hex()]) == {}


def wait_for(happened: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_what_every_batch_meets_is_found_out_once_a_batch(start: Callable[..., Run]) -> None:
    """Nothing of the model was scored, so it is no single unit's fault: nothing is tried one by one."""
    run = start(Stubborn, many(12))
    run.to_its_end(1)
    assert (run.scored, {failure.kind for failure in run.failed}) == ({}, {"bug"})
    assert len(run.failed) == 12
    tries = Counter(failure.message for failure in run.failed)
    assert len(tries) < 12  # a message tells its batch
