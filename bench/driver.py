"""What the driver costs: 1,188 trials and 52,272 scores whose training and scoring do nothing, on real Ray and Tune.

`python -m bench.driver` runs the reference study's grid, 9 models × 44 sources × 3 seeds × 44 targets, gangs of one:
first all trials, then all scores. Everything but the work itself is real: actors, Tune's trials, the scheduler, the
books, metrics, progress lines. Wall-clock and CPU time of this process per unit, and its memory over time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from typing import Any, NamedTuple

import psutil
import ray
from rich.console import Console

from orchestrator.cluster.connect import connect
from orchestrator.costs.devices import of_actors
from orchestrator.costs.estimate import Estimates
from orchestrator.planning.grid import Grid, expand
from orchestrator.planning.plan import plan
from orchestrator.planning.survey import Survey
from orchestrator.prepare import Prepared
from orchestrator.run import Actors, StudyRun
from orchestrator.training.outcome import GangEnded, Trained, as_result
from orchestrator.training.trial import AdapterTrial
from study.cells import Cell, Source
from study.config import StudyConfig
from study.config.file import parse
from study.data.example import Example
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from study.models.resolve import Model
from study.store.store import Store
from study.units import ScoreUnit

EVERY_S = 1.0


class NoTasks(TaskLibrary):
    """Tasks whose requests nobody needs."""

    def load(self, cell: Cell) -> Any:
        raise TaskError("no data")


class NoTraining(AdapterTrial):
    """A trial that says at once that its gang is trained."""

    def step(self) -> dict[str, Any]:
        trained = tuple(Trained(name, 1000, 0.001) for name in self.gang)
        return {"done": True, **as_result(GangEnded(trained))}


class Made(NamedTuple):
    """What evaluators.scored.Scored tells of a score, without the imports."""

    score_id: str
    ok: bool = True
    kind: str | None = None
    seconds: float = 0.001
    tokens: int = 1000
    metrics: tuple[tuple[str, float], ...] = ()


class NoScoring:
    """An evaluator that says at once that its units are scored."""

    def load(self, *_: object) -> None:
        pass

    def score(self, units: tuple[ScoreUnit, ...], requests: object) -> list[Made]:
        return [Made(unit.score_id) for unit in units]


class Memory(threading.Thread):
    """Resident memory of this process, MB, each second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[float] = []
        self._stop_now = threading.Event()

    def run(self) -> None:
        process = psutil.Process()
        while not self._stop_now.wait(EVERY_S):
            self.samples.append(process.memory_info().rss / 1e6)

    def stop(self) -> list[float]:
        self._stop_now.set()
        self.join()
        return self.samples


def grid_of(config: StudyConfig) -> Grid:
    models = [
        Model(m.id, "examples/quickstart/polyglot-nano", None, m.id, "float32", m.id, 1.0, 10**9, False, ())
        for m in config.models
    ]
    cells = config.cells()
    return expand(config, models, {Source.of([c]): [str(c)] for c in cells}, {c: str(c) for c in cells})


def measure(name: str, config: StudyConfig, grid: Grid, trained: bool, store: Store) -> None:
    """Run all trials, or all scores, and print what each cost."""
    done = {unit.adapter_id: unit.model for unit in grid.adapters}
    to_do = plan(grid, done if trained else {}, ())
    if not trained:
        to_do = type(to_do)(grid, to_do.train, (), to_do.stale_adapters, to_do.stale_scores)
    count = to_do.n_scores if trained else len(to_do.train)
    survey = Survey(
        NoTasks.of(config), examples={unit.source: (Example("question", "answer", "hash"),) for unit in grid.adapters}
    )
    sources = {str(unit.source): 1.0 for unit in grid.adapters}
    models = [model.name for model in grid.models]
    estimates = Estimates(
        dict.fromkeys(models, sources),
        {name: dict.fromkeys(sources, 1000) for name in models},
        {name: dict.fromkeys(sources, 1000) for name in models},
        {name: [0.02] * len(grid.targets) for name in models},
        {name: [1000] * len(grid.targets) for name in models},
        dict.fromkeys(models, 1.0),
        dict.fromkeys(models, "nothing"),
        of_actors(config),
    )
    memory = Memory()
    memory.start()
    wall, cpu = time.perf_counter(), time.process_time()
    with open(os.devnull, "w") as nowhere:
        console = Console(file=nowhere)
        prepared = Prepared(config, store, survey, to_do, estimates)
        failures = StudyRun(prepared, console, actors=Actors(NoTraining, NoScoring)).run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rss = memory.stop()
    assert not failures, failures[0]
    over_time = ", ".join(f"{rss[(len(rss) - 1) * i // 4]:.0f}" for i in range(5))
    each = f"{wall / count * 1e3:.2f} ms of wall clock, {cpu / count * 1e3:.2f} ms of this process's CPU"
    print(f"{name}: {count:,} in {wall:.1f} s; each {each}; resident memory, MB, over time: {over_time}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.driver")
    parser.add_argument("--models", type=int, default=9)
    parser.add_argument("--languages", type=int, default=11)
    options = parser.parse_args()
    names = ", ".join(f"{{id: model{i}}}" for i in range(options.models))
    languages = ", ".join(f"l{i}" for i in range(options.languages))
    tasks = ", ".join(f"{{name: t{i}, lm_eval: 't{i}_{{language}}'}}" for i in range(4))
    with tempfile.TemporaryDirectory() as folder:
        config = parse(
            f"study: driver\nstore: {folder}/store\nmodels: [{names}]\nlanguages: [{languages}]\ntasks: [{tasks}]\n"
            "training: {gang_size: 1, resources_per_worker: {CPU: 1}}\nevaluators: {resources: {CPU: 1}}"
        )
        grid, store = grid_of(config), Store(config.store)
        began = time.perf_counter()
        store.write_grid(*grid.tables())
        print(f"the grid's {grid.n_scores:,} scores written in {time.perf_counter() - began:.2f} s", flush=True)
        connect()
        measure("trials", config, grid, False, store)
        measure("scores", config, grid, True, store)
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
