"""What planning costs: 100,000 adapters × 1,000 targets, of which some scores are done already.

`python -m bench.planning [MILLIONS ...]`: each number of scores done in a process of its own; CPU time and peak
memory of the whole of a plan: expand the grid, read what is done from Arrow as the store does, plan, sum up the costs.
Making the rows that a store would hold is not counted.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import pyarrow as pa

from orchestrator.estimate import Estimates, costs
from orchestrator.grid import Grid, expand
from orchestrator.plan import plan
from study.cells import Source
from study.load import parse
from study.models import Model
from study.store import DoneScore, done_in

LANGUAGES, SEEDS, ROWS = 1000, 100, 65536


def grid() -> Grid:
    """One model, 1,000 languages of a task, 100 seeds."""
    config = parse(
        f"models: [{{id: m}}]\nlanguages: [{', '.join(f'l{i}' for i in range(LANGUAGES))}]\n"
        f"tasks: [{{name: t, lm_eval: 't_{{language}}'}}]\nseeds: {list(range(SEEDS))}"
    )
    model = Model("m", "m", None, "m", "float32", "m", 1.0, 10**9, False, ())
    cells = config.cells()
    return expand(config, [model], {Source.of([c]): [str(c)] for c in cells}, {c: str(c) for c in cells})


class Done:
    """A store's answer when the first `count` scores are there; `seconds` are those of making it up."""

    def __init__(self, of: Grid, count: int) -> None:
        self._grid, self._count, self.seconds = of, count, 0.0

    def __iter__(self) -> Iterator[DoneScore]:
        units = ((part, i) for part in self._grid.parts() for i in part.targets)
        for start in range(0, self._count, ROWS):
            began = time.process_time()
            rows = [next(units) for _ in range(min(ROWS, self._count - start))]
            columns = {
                "score_id": [self._grid.names[i](part.subject) for part, i in rows],
                "model": [part.model.name for part, _ in rows],
                "adapter_id": [part.adapter.adapter_id if part.adapter else None for part, _ in rows],
                "target_task": [self._grid.targets[i].task for _, i in rows],
                "target_language": [self._grid.targets[i].language for _, i in rows],
            }
            batch = pa.record_batch(list(columns.values()), names=list(columns))
            self.seconds += time.process_time() - began
            yield from done_in(batch)


def measure(millions: float) -> None:
    some = grid()
    done = Done(some, round(millions * 1e6))
    began = time.process_time()
    some = grid()
    todo = plan(some, {}, done)
    chance = random.Random(1)
    each, source = [chance.random() for _ in some.targets], {str(unit.source): 1.0 for unit in some.adapters}
    tokens = [1000] * len(each)
    estimates = Estimates({"m": source}, {"m": dict.fromkeys(source, 1)}, {"m": each}, {"m": tokens}, {}, {"m": ""})
    costs(todo, estimates)
    seconds = time.process_time() - began - done.seconds
    assert todo.n_scores == some.n_scores - round(millions * 1e6)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{millions:g} million of {some.n_scores:,} scores done: {seconds:.1f} s of CPU, peak memory {peak:.2f} GB",
        flush=True,
    )


if __name__ == "__main__":
    if len(sys.argv) == 2:
        measure(float(sys.argv[1]))
    else:
        for number in sys.argv[1:] or ["0", "1", "10", "50"]:
            subprocess.run([sys.executable, "-m", "bench.planning", number], check=True)
