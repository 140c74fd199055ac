"""What scoring compositions costs beside scoring trained adapters: CPU seconds on one thread.

`python -m bench.composed [CONFIG] [ADAPTERS] [ROUNDS]` scores ADAPTERS adapters at random of the config's rank, and as
many sums of three of them, on every target of the config, with one evaluator that is warm; in ROUNDS shares, adapters
and sums in turn, each share a ratio of its own. Sums are put together, written and read within their time. Then a bank
of four adapters reads the items of one target, the adapters of once, twice and three times the rank, in turn.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch

from adapters.folders.targeting import meant
from adapters.kinds import lora_weights
from bench.composing import at_random
from evaluators.evaluator import Evaluator, Settings
from evaluators.forward.engine import Engine
from evaluators.forward.rows import Row
from evaluators.items.encoder import encoder_of
from evaluators.items.targets import EXACT, Targets
from evaluators.subjects.on_base import load_base
from evaluators.subjects.sharing import bank_on
from study.cells import Cell, Source
from study.composition import Composition, Term, gathered
from study.config import Lora, StudyConfig
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.models.resolve import Model, resolve_all
from study.store.store import Store
from study.units import Adapter, AdapterUnit, ComposedAdapter, ScoreUnit

BANKED = 4


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


class Bench:
    """Adapters in a store, and an evaluator that has all targets ready."""

    def __init__(self, config: StudyConfig, folder: Path, count: int) -> None:
        [self.model, *_] = resolve_all(config)
        self.cells, self.rank = config.target_list(), (config.recipe.lora or Lora()).r
        base = load_base(self.model)
        modules = {name: base.get_submodule(name).weight for name in meant(base, "all-linear")}
        self.shapes = {name: (weight.shape[0], weight.shape[1]) for name, weight in modules.items()}
        self.trained = []
        for seed in range(count):
            unit = AdapterUnit(f"{seed:016}", self.model.name, Source.of([self.cells[0]]), seed)
            tensors = lora_weights.named(at_random(self.shapes, self.rank, seed))
            lora_weights.write(folder / unit.folder, Lora(r=self.rank, alpha=2 * self.rank), base, self.model, tensors)
            self.trained.append(unit)
        self.evaluator = Evaluator(self.model, Store(str(folder)), Settings.of(config))
        self.score([None], "ready")

    def score(self, adapters: Sequence[Adapter | None], mark: str) -> float:
        """Score adapters on all targets; `mark` tells this time from others. Returns CPU seconds."""
        named = [(f"{mark}-{number}", one) for number, one in enumerate(adapters)]
        units = [
            ScoreUnit(f"{name}-{cell}", name, str(cell), self.model.name, 1, one, cell)
            for name, one in named
            for cell in self.cells
        ]
        return cpu_seconds(lambda: self._scored(units))

    def _scored(self, units: Sequence[ScoreUnit]) -> None:
        assert all(one.ok for one in self.evaluator.score(units))

    def sums(self, numbers: Iterable[int]) -> list[Adapter | None]:
        """Of each of these adapters and the next two, with weights of its own."""
        found: list[Adapter | None] = []
        parts = {one.adapter_id: one for one in self.trained}
        for number in numbers:
            three = [self.trained[(number + step) % len(self.trained)] for step in (0, 1, 2)]
            weights = (1.0, 0.5, -0.5 - 0.01 * number)
            made = Composition("sum", gathered(Term(o.adapter_id, w) for o, w in zip(three, weights, strict=True)))
            own = tuple(parts[term.adapter_id] for term in made.terms)
            found.append(ComposedAdapter(made.identity, self.model.name, f"sum{number}", made, own, 1))
        return found


def rows_of(config: StudyConfig, model: Model, engine: Engine, cell: Cell) -> tuple[Sequence[Row], int]:
    target = Targets(TaskLibrary.of(config), encoder_of(model), engine, lambda _: None, EXACT).ready(cell)
    return target.rows, target.n_requests


def banks(config: StudyConfig, bench: Bench, rounds: int) -> Mapping[str, list[float]]:
    """CPU seconds of a bank's reading, by how many times the rank its adapters have."""
    engine = Engine(load_base(bench.model))
    rows, count = rows_of(config, bench.model, engine, bench.cells[0])
    every = [row.numbered_from(slot * count, slot) for slot in range(BANKED) for row in rows]
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        for times in (1, 2, 3):
            adapters = [at_random(bench.shapes, times * bench.rank, seed) for seed in range(BANKED)]
            with bank_on(engine, adapters):
                taken = cpu_seconds(lambda: engine.loglikelihoods(every, BANKED * count))
            seconds.setdefault(f"bank of {BANKED}, rank {times * bench.rank}", []).append(taken)
    return {name: own[1:] for name, own in seconds.items()}  # the first round is warming up


def told(seconds: Mapping[str, list[float]], per: int, unit: str) -> None:
    first, *_ = seconds.values()
    for name, own in seconds.items():
        ratios = sorted(mine / theirs for mine, theirs in zip(own, first, strict=True))
        spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(f"{name:24} {statistics.median(own) / per:8.3f} CPU s per {unit}, {spread} x the first", flush=True)


def main(file: str, count: int, rounds: int) -> None:
    torch.set_num_threads(1)
    config = load(file, [], None)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(config, Path(folder), count)
        seconds: dict[str, list[float]] = {"trained": [], "composed": []}
        for number in range(rounds):
            share = range(number, count, rounds)
            trained = [bench.trained[one] for one in share]
            seconds["trained"].append(bench.score(trained, f"trained{number}") / len(share))
            seconds["composed"].append(bench.score(bench.sums(share), f"composed{number}") / len(share))
        print(f"{count} adapters on {len(bench.cells)} targets each")
        told(seconds, 1, "adapter")
        told(banks(config, bench, rounds), BANKED, "adapter and target")


if __name__ == "__main__":
    given = (*sys.argv[1:], *["examples/quickstart/study.yaml", "100", "10"][len(sys.argv) - 1 :])
    print(f"load {os.getloadavg()[0]:.1f}")
    main(given[0], int(given[1]), int(given[2]))
    print(f"load {os.getloadavg()[0]:.1f}")
