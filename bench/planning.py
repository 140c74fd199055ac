"""What planning costs: 100,000 adapters × 1,000 targets, of which some scores are done already.

`python -m bench.planning [MILLIONS ...]`: each number of scores done in a process of its own. Their rows lie in the
segments of a store's index as the store writes them, 64 rows of a file after the other, without the columns that
planning does not read; the listing of the files they came from is given, not counted. Wall-clock and CPU time, and peak
memory, of each step: expand the grid, plan by what is done and sum up what it took, make a speed of that and sum up the
costs, record the grid.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.costs.devices import CPU, SCORE, TRAIN
from orchestrator.costs.estimate import Estimates, costs
from orchestrator.costs.measured import measure
from orchestrator.planning.grid import Grid, expand
from orchestrator.prepare import planned
from study.cells import Source
from study.config.file import parse
from study.models.resolve import Model
from study.store.files import File
from study.store.index import MOST_FILES, STAMPS
from study.store.index import ROWS as HELD
from study.store.layout import SCORES, SCORES_INDEX
from study.store.store import Store

LANGUAGES, SEEDS, ROWS = 1000, 100, 64


def grid() -> Grid:
    """One model, 1,000 languages of a task, 100 seeds."""
    config = parse(
        f"models: [{{id: m}}]\nlanguages: [{', '.join(f'l{i}' for i in range(LANGUAGES))}]\n"
        f"tasks: [{{name: t, lm_eval: 't_{{language}}'}}]\nseeds: {list(range(SEEDS))}"
    )
    model = Model("m", "m", None, "m", "float32", "m", 1.0, 10**9, False, ())
    cells = config.cells()
    return expand(config, [model], {Source.of([c]): [str(c)] for c in cells}, {c: str(c) for c in cells})


class Listed(Store):
    """A store whose listing of score files is known."""

    def __init__(self, uri: str, found: Sequence[File]) -> None:
        super().__init__(uri)
        self._found = list(found)

    def listed(self, folder: str, suffix: str, recursive: bool = False) -> list[File]:
        return self._found if folder == SCORES else super().listed(folder, suffix, recursive)


def fill(store: Store, some: Grid, count: int) -> list[File]:
    """Segments in which the first `count` scores are done; the files that they were read from."""
    subjects = pa.array([part.subject for part in some.parts()])
    targets, languages = pa.array(some.target_ids), pa.array([cell.language for cell in some.targets])
    listed = []
    for start in range(0, count, ROWS * MOST_FILES):
        at = np.arange(start, min(count, start + ROWS * MOST_FILES))
        subject, target = at // len(targets), (at % len(targets)).astype(np.int32)
        own = subjects.slice(subject[0], int(subject[-1] - subject[0]) + 1)
        one, n = pa.array(np.zeros(len(at), np.int32)), len(at)
        columns: dict[str, Any] = {
            "model": pa.DictionaryArray.from_arrays(one, ["m"]),
            "model_params": pa.array(np.full(n, 10**9)),
            "subject_id": pa.DictionaryArray.from_arrays(pa.array((subject - subject[0]).astype(np.int32)), own),
            "target_id": pa.DictionaryArray.from_arrays(pa.array(target), targets),
            "target_task": pa.DictionaryArray.from_arrays(one, ["t"]),
            "target_language": pa.DictionaryArray.from_arrays(pa.array(target), languages),
            "metric": pa.DictionaryArray.from_arrays(one, ["acc"]),
            "seconds": pa.array(np.random.default_rng(start).random(n)),
            "tokens": pa.array(np.full(n, 1000)),
            "n_items": pa.array(np.full(n, 100)),
            "device": pa.DictionaryArray.from_arrays(one, ["cpu"]),
        }
        stamps = [f"{SCORES}/{first:012d}.parquet 1 1" for first in at[::ROWS].tolist()]
        counts = [str(min(ROWS, start + n - first)) for first in at[::ROWS].tolist()]
        rows = pa.table(columns).replace_schema_metadata({STAMPS: "\n".join(stamps), HELD: "\n".join(counts)})
        store.fs.create_dir(store.path(SCORES_INDEX))
        pq.write_table(rows, store.path(f"{SCORES_INDEX}/{start:012d}.parquet"), compression="zstd")
        listed += [File(stamp.partition(" ")[0], stamp) for stamp in stamps]
    return listed


def timed(name: str, step: Callable[[], Any]) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    result = step()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"  {name}: {wall:.1f} s, {cpu:.1f} s of CPU; peak memory so far {peak:.2f} GB", flush=True)
    return result


def cost(todo: Any) -> None:
    chance = random.Random(1)
    each, source = [chance.random() for _ in todo.grid.targets], {str(unit.source): 1.0 for unit in todo.grid.adapters}
    tokens = [1000] * len(each)
    once, devices = {"m": dict.fromkeys(source, 1)}, {TRAIN: 1.0, SCORE: 1.0}
    costs(todo, Estimates({"m": source}, once, once, {"m": each}, {"m": tokens}, {"m": 1.0}, {"m": ""}, devices))


def run(folder: str, count: int) -> None:
    """All steps, in a process that has not made the segments."""
    with open(f"{folder}/listed.json") as source:
        store = Listed(folder, [File(*pair) for pair in json.load(source)])
    some = timed("expand the grid", grid)
    print(f" {count / 1e6:g} million of {some.n_scores:,} scores done")
    todo, took = timed("plan, and sum up what was done", lambda: planned(store, some, {}))
    assert todo.n_scores == some.n_scores - count
    timed("costs", lambda: cost(todo))
    timed("measure", lambda: measure(store, {TRAIN: CPU, SCORE: CPU}, took))
    timed("record the grid", lambda: store.write_grid(*some.tables()))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].startswith("/"):
        run(sys.argv[1], int(sys.argv[2]))
    else:
        for number in sys.argv[1:] or ["0", "1", "10", "100"]:
            with tempfile.TemporaryDirectory() as folder:
                done = round(float(number) * 1e6)
                files = fill(Store(folder), grid(), done)
                with open(f"{folder}/listed.json", "w") as out:
                    json.dump([[file.path, file.stamp] for file in files], out)
                subprocess.run([sys.executable, "-m", "bench.planning", folder, str(done)], check=True)
