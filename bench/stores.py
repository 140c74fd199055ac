"""What looking at a store costs, with many small files and with few large ones: on a disk, and in a slow bucket.

`python -m bench.stores FOLDER [MILLIONS ...]`: 100,000 adapters × 1,000 targets, of which the first so many scores are
done, in large parts, and up to a million also in small ones of 64 rows, with their index. Each look in a process of its
own: what a run asks before its plan (`planned`), and `orchestrator.status`. The bucket waits 20 ms before each answer.
No adapter lies in the store: the listing of their folders is not in it. `python -m bench.stores compact STORE` times a
compaction.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.planning import grid
from orchestrator import status
from orchestrator.planning.grid import Grid
from orchestrator.prepare import planned
from study.store import schema
from study.store.compaction import ROWS, compact
from study.store.layout import SCORES, new_part
from study.store.parquet import to_bytes
from study.store.store import Store

SMALL, MOST_SMALL, WAIT_S = 64, 1.0, 0.02


def fill(store: Store, some: Grid, count: int, each: int) -> None:
    """The first `count` scores of the grid in parts of `each` rows; large parts are named as compaction does."""
    subjects = pa.array([part.subject for part in some.parts()])
    ids = pa.array([os.urandom(8).hex() for _ in range(each)])
    os.makedirs(store.path(SCORES), exist_ok=True)
    for start in range(0, count, each):
        rows = _rows(some, subjects, np.arange(start, min(count, start + each)), ids)
        data = to_bytes(rows)
        name = new_part(SCORES, data, None if each == SMALL else rows.num_rows)
        Path(store.path(name)).write_bytes(data)
    store.write_grid(*some.tables())
    store.write("study.yaml", b"config: {study: benchmark}\n")
    store.write_indexes()  # as at the end of a run


def _rows(some: Grid, subjects: pa.Array, at: np.ndarray, ids: pa.Array) -> pa.Table:
    """Score rows of the places of a grid, row by row of it; large parts are sorted by target."""
    width = len(some.targets)
    if len(at) > SMALL:
        at = at[np.argsort(at % width, kind="stable")]
    subject, target, n = subjects.take(pa.array(at // width)), at % width, len(at)
    names, languages = pa.array(some.target_ids), pa.array([cell.language for cell in some.targets])
    constant: dict[str, object] = {
        "model": "m",
        "model_params": 10**9,
        "source_task": "t",
        "source_language": "l0",
        "source_size": None,
        "recipe": None,
        "epoch": None,
        "seed": 17,
    }
    constant |= {"target_task": "t", "metric": "acc", "value": 0.5, "stderr": None, "n_items": 100, "tokens": 1000}
    constant |= {
        "device": "cpu",
        "engine": "bench",
        "base_compared": True,
        "day_fixed": True,
        "higher_is_better": True,
        "headline": True,
        "replicates": None,
        "written_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    columns: dict[str, Any] = {
        name: pa.repeat(pa.scalar(value, schema.SCORES.field(name).type), n) for name, value in constant.items()
    }
    columns |= {"score_id": ids.slice(0, n), "adapter_id": subject, "subject_id": subject}
    columns |= {"target_id": names.take(pa.array(target)), "target_language": languages.take(pa.array(target))}
    columns["seconds"] = pa.array(np.random.default_rng(int(at[0])).random(n))
    return pa.table({name: columns[name] for name in schema.SCORES.names}, schema=schema.SCORES)


def look(what: str, uri: str) -> None:
    """Time one look, and print it."""
    some, wall, cpu = grid() if what == "start" else None, time.perf_counter(), time.process_time()
    if some is None:
        with contextlib.redirect_stdout(sys.stderr):
            status.main([uri])
    else:
        planned(Store(uri), some, {})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, peak]))


@contextlib.contextmanager
def bucket(folder: Path) -> Iterator[dict[str, str]]:
    """What an environment needs to find the folder in a bucket."""
    command = [sys.executable, "-m", "bench.slow_bucket", str(folder), str(WAIT_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "none", "AWS_EC2_METADATA_DISABLED": "true"}
        try:
            yield {**os.environ, **keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        finally:
            process.terminate()


def looks(folder: Path, name: str) -> None:
    """Look at a store on its disk and in a bucket, and print a row of the table each."""
    for place, uri in (("disk", str(folder)), ("bucket", "s3://b")):
        with bucket(folder) as environment:
            for what in ("start", "status"):
                command = [sys.executable, "-m", "bench.stores", what, uri]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
                wall, cpu, peak = json.loads(done.stdout)
                with urllib.request.urlopen(f"{environment['AWS_ENDPOINT_URL']}/-/counts") as answer:
                    asked = sum(json.load(answer).values())
                print(
                    f"| {name} | {place} | {what} | {wall:.1f} | {cpu:.1f} | {asked or '–'} | {peak:.2f} |", flush=True
                )


def main(folder: Path, millions: list[float]) -> None:
    print("| store | where | look | wall, s | CPU, s | requests | peak memory, GB |\n|---|---|---|---:|---:|---:|---:|")
    some = grid()
    for million in millions:
        for each in (SMALL, ROWS) if million <= MOST_SMALL else (ROWS,):
            own = folder / f"{million:g}-{each}"
            if not own.exists():
                fill(Store(str(own)), some, round(million * 1e6), each)
            files = len(list((own / SCORES).iterdir()))
            looks(own, f"{million:g} million scores in {files:,} files")


if __name__ == "__main__":
    if sys.argv[1] in ("start", "status"):
        look(*sys.argv[1:])
    elif sys.argv[1] == "compact":
        began = time.perf_counter(), time.process_time()
        print(compact(Store(sys.argv[2])))
        print(f"{time.perf_counter() - began[0]:.1f} s, {time.process_time() - began[1]:.1f} s of CPU")
    else:
        main(Path(sys.argv[1]), [float(number) for number in sys.argv[2:]] or [1, 100])
