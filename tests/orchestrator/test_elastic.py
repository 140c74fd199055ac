"""The driver on a real cluster that changes while it runs; only the work itself is replaced, by waiting."""

from __future__ import annotations

import io
import os
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from orchestrator.cluster import connect
from orchestrator.estimate import Estimates
from orchestrator.grid import Grid, expand
from orchestrator.plan import plan
from orchestrator.run import StudyRun
from orchestrator.survey import Survey
from orchestrator.trial import AdapterTrial
from study.cells import Cell, Source
from study.config import StudyConfig
from study.load import parse
from study.models import Model
from study.store import Store
from study.tasks import Example, TaskError, TaskLibrary
from study.units import ScoreUnit

TRIAL_S, SCORE_S = 2.0, 0.2


def note(folder: Path, what: str, name: str) -> None:
    """Leave behind that a unit was begun, when, and on which node."""
    line = f"{what} {name} {ray.get_runtime_context().get_node_id()} {time.time()}\n"
    with open(folder / "begun", "a") as out:
        out.write(line)


class Begun(NamedTuple):
    what: str
    name: str
    node: str
    at: float


def begun(folder: Path) -> list[Begun]:
    file = folder / "begun"
    lines = file.read_text().splitlines() if file.exists() else []
    return [Begun(what, name, node, float(at)) for what, name, node, at in (line.split() for line in lines)]


class Made(NamedTuple):
    score_id: str
    ok: bool = True
    seconds: float = SCORE_S
    tokens: int = 10
    metrics: tuple[tuple[str, float], ...] = ()


class NoTasks(TaskLibrary):
    """Tasks whose requests nobody needs."""

    def load(self, cell: Cell) -> Any:
        raise TaskError("no data")


class SlowTrial(AdapterTrial):
    def step(self) -> dict[str, Any]:
        for name in self._gang:
            note(Path(self._context.store.uri).parent, "train", name)
        time.sleep(TRIAL_S)
        trained = [{"adapter_id": name, "tokens": 100, "seconds": TRIAL_S} for name in self._gang]
        return {"done": True, "trained": trained, "rejected": []}


class SlowScorer:
    def __init__(self, config: StudyConfig, model: Model, store: Store, profile: bool) -> None:
        self._folder = Path(store.uri).parent

    def score(self, units: tuple[ScoreUnit, ...], requests: object) -> list[Made]:
        for unit in units:
            note(self._folder, "score", unit.score_id)
            time.sleep(SCORE_S)
        return [Made(unit.score_id) for unit in units]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head with one CPU."""
    result = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = result.address
    connect()
    yield result
    ray.shutdown()
    result.shutdown()
    os.environ.pop("RAY_ADDRESS") if before is None else os.environ.update(RAY_ADDRESS=before)


def study_of(folder: Path) -> tuple[StudyConfig, Grid]:
    languages = [f"l{i}" for i in range(10)]
    config = parse(
        f"study: joined\nstore: {folder}/store\nmodels: [{{id: m}}]\nlanguages: [{', '.join(languages)}]\n"
        "tasks: [{name: t, lm_eval: 't_{language}'}]\nseeds: [1]\n"
        "training: {gang_size: 1, resources_per_worker: {CPU: 1}}\nevaluators: {resources: {CPU: 1}}"
    )
    cells = config.cells()
    models = [Model("m", "models/polyglot-nano", None, "m", "float32", "m", 1.0, 10, False, ())]
    return config, expand(config, models, {Source.of([c]): [str(c)] for c in cells}, {c: str(c) for c in cells})


def estimates_of(grid: Grid) -> Estimates:
    sources = {str(unit.source) for unit in grid.adapters}
    train, score = dict.fromkeys(sources, TRIAL_S), [SCORE_S] * len(grid.targets)
    return Estimates(
        {"m": train}, {"m": dict.fromkeys(sources, 100)}, {"m": score}, {"m": [10] * 10}, {"m": 1.0}, {"m": "waiting"}
    )


def wait_for(condition: Any, seconds: float) -> None:
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_a_node_that_joins_trains_and_scores_and_one_that_leaves_costs_what_it_had_in_hand(
    cluster: Cluster, tmp_path: Path
) -> None:
    config, grid = study_of(tmp_path)
    survey = Survey(NoTasks.of(config), examples={unit.source: (Example("q", "a"),) for unit in grid.adapters})
    todo, out, failures = plan(grid, {}, ()), io.StringIO(), ["not ended"]
    run = StudyRun(
        config, todo, survey, Store(config.store), estimates_of(grid), Console(file=out), False, SlowTrial, SlowScorer
    )

    def study() -> None:
        failures[:] = run.run()

    driver = threading.Thread(target=study)
    driver.start()
    wait_for(lambda: any(one.what == "train" for one in begun(tmp_path)), 60)
    assert {one.what for one in begun(tmp_path)} == {"score", "train"}  # one CPU: the base was scored, then it trained
    node = cluster.add_node(num_cpus=3)
    joined = node.node_id

    def there(what: str) -> list[Begun]:
        return [one for one in begun(tmp_path) if one.node == joined and one.what == what]

    wait_for(lambda: there("train") and there("score"), 60)
    cluster.remove_node(node, allow_graceful=False)
    driver.join(120)
    assert not driver.is_alive()
    assert failures == []
    assert (run.progress.count("train")["this run"], run.progress.count("score")["this run"]) == (10, 110)
    again = Counter((one.what, one.name) for one in begun(tmp_path))
    assert set(again) == {("train", u.adapter_id) for u in grid.adapters} | {
        ("score", u.score_id) for u in todo.score()
    }
    at_the_lost_node = {(one.what, one.name) for one in begun(tmp_path) if one.node == joined}
    assert {unit for unit, count in again.items() if count > 1} <= at_the_lost_node
    assert run.progress.verdict().startswith("device time: adapters 0:00:20 estimated, 0:00:20 taken (+0%)")
    assert "scores 110/110 · failed 0" in out.getvalue().splitlines()[-1]
    check_metrics()


def check_metrics() -> None:
    """The numbers are at the endpoint that Prometheus reads."""
    port = next(node["MetricsExportPort"] for node in ray.nodes() if node["Alive"])
    values: dict[str, float] = {}

    def arrived() -> bool:
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        for line in page.splitlines():
            if line.startswith("ray_crosscells_"):
                values[line.partition("{")[0]] = float(line.rpartition(" ")[2])
                assert 'study="joined"' in line
        return values.get("ray_crosscells_scores_total") == 110

    wait_for(arrived, 45)
    assert values["ray_crosscells_adapters_trained_total"] == 10
    assert values["ray_crosscells_units_left"] == 0
    assert values["ray_crosscells_eta_seconds"] == 0
    assert "ray_crosscells_tokens_total" in values
    assert "ray_crosscells_evaluators" in values
