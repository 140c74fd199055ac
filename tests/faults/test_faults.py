"""Studies under random faults: real clusters, real signals, real disks. Their results equal the undisturbed study's.

`make test-faults` runs 30; FAULT_RUNS and FAULT_SEED choose how many and which. A seed's faults are always the same,
the moments at which they meet the study are not.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from psutil import NoSuchProcess, Process

from study.check import main as check
from study.store.store import Store
from tests.faults.cluster import TITLES, Nodes
from tests.faults.disk import Disk, FreezingDisk
from tests.faults.driven import TIMEOUT_S, Driver, done, tables
from tests.faults.scenario import DEAR_ENDED, ENDED, IN_BUCKET, ON_DISK, Fault, faults
from tests.support import traps
from tests.support.buckets import BUCKET, Proxy, proxy, s3_server
from tests.support.tiny_models import make_model
from tests.support.tiny_world import CROWDED, make_config, make_tasks

RUNS = int(os.environ.get("FAULT_RUNS", "1"))
FIRST = int(os.environ.get("FAULT_FIRST", "0"))
SEED = os.environ.get("FAULT_SEED", "")
DEAR = RUNS > 2  # faults that take minutes each are drawn, too
TASKS, LANGUAGES = ["next", "skip"], ["xx", "yy"]
PARTS = [{"source": "next/xx"}, {"source": "skip/yy"}]
COMPOSE = [  # sums of two adapters, of one at two lambdas: scored on items that are held out, too, as the base is
    {
        "name": "pair",
        "method": "sum",
        "lambda": {"grid": [0.5, 1], "protocol": "other_languages"},
        "terms": [{"source": "next/xx"}, {"source": "skip/yy", "weight": "lambda"}],
    },
    {
        "name": "search",
        "method": "sum",
        "terms": PARTS,
        "weights": {"search": {"cell": "next/yy", "examples": 4, "budget": 8}},
    },
    {"name": "route", "method": "arrow", "top_k": 1, "terms": PARTS},
]
EVALUATORS = {"resources": {"CPU": 1}, "tokens_per_batch": 1}  # a row at a time: no number hangs on its company
RECIPE = {
    **{"lora": {"r": 4, "alpha": 8}, "learning_rate": 1.0e-2, "epochs": 2, "max_length": 64},
    "validation": {"fraction": 0.5},
    "keep_near_base": {"kl": 0.1},
}
CELLS = ["next/xx", "next/yy", "skip/xx", "skip/yy", "prose/xx"]  # the last is raw text
OWN: dict[str, Any] = {
    **{**CROWDED, "evaluators": EVALUATORS, "recipe": RECIPE},
    **{"sources": CELLS, "targets": CELLS, "compose": COMPOSE},
}
ALONE = {**CROWDED["training"], "gang_size": 1}  # gangs, and so last bits, hang on how large the cluster is
UNITS = 5 + (1 + 5 + 4) * 5 + (1 + 2) * 4
SHARE = 0.2  # of a bucket's requests that are refused, fail or are cut off
SLOW_S = 0.3  # that each of a slow bucket's requests takes longer
HUNG = {"hung": 20, "hung_after_s": 20}  # a machine that is shared may take longer between two steps: it costs a try
CUT_S, ASLEEP_S = 45.0, 75.0  # until Ray counts a node as lost, about; more than a lease lasts


@pytest.fixture(scope="module")
def seed() -> str:
    return SEED or str(random.SystemRandom().randrange(10**6))


@pytest.fixture(scope="module")
def survived(seed: str) -> Iterator[Counter[str]]:
    """Counts the faults that were injected into runs that came out right."""
    counts: Counter[str] = Counter()
    yield counts
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    print(f"\nfaults injected and survived: {counts.total()} ({kinds}); FAULT_SEED={seed}")


@pytest.fixture(scope="module")
def bucket() -> Iterator[Proxy]:
    """A server that a study's store may be in; nothing fails yet."""
    with s3_server() as port, proxy(port) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.environment.items():
            patch.setenv(name, value)
        yield found


@pytest.fixture(scope="module")
def nodes(bucket: Proxy) -> Iterator[Nodes]:
    """Their processes know how to reach the bucket."""
    nodes = Nodes()
    yield nodes
    nodes.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Folder, model and lm-eval folder that all runs share."""
    folder = tmp_path_factory.mktemp("world")
    rows = [{"text": f"xx: {i}, {i + 1}, {i + 2}, {i + 3}, and so on, {i + 4}"} for i in range(24)]
    (folder / "prose_xx.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder, make_model(folder / "tiny", spread=0.2), make_tasks(folder / "tasks", TASKS, LANGUAGES)


def study(world: tuple[Path, Path, Path], name: str, store: str = "", **more: Any) -> tuple[Path, Store]:
    """A study of its own: config file and store."""
    folder, model, tasks = world
    (folder / name).mkdir()
    where = {"store": store} if store else {}
    text = {"texts": [{"name": "prose", "data": str(folder / "prose_{language}.jsonl")}]}
    config = make_config(folder / name, [model], TASKS, LANGUAGES, tasks, **{**OWN, **text, **where, **more})
    return config, Store(store or str(folder / name / "store"))


@pytest.fixture(scope="module")
def undisturbed(world: tuple[Path, Path, Path], nodes: Nodes) -> Store:
    return _in_one_go(nodes, *study(world, "undisturbed"))


@pytest.fixture(scope="module")
def undisturbed_alone(world: tuple[Path, Path, Path], nodes: Nodes) -> Store:
    return _in_one_go(nodes, *study(world, "undisturbed-alone", training=ALONE))


def _in_one_go(nodes: Nodes, config: Path, store: Store) -> Store:
    with Driver(config, nodes.address) as driver:
        assert driver.wait() == 0, driver.output
    return store


def test_a_study_of_combinations_that_is_killed_in_each_of_its_stages_ends_like_an_undisturbed_one(
    world: tuple[Path, Path, Path], nodes: Nodes, undisturbed: Store
) -> None:
    """Its driver and its evaluators: each in the midst of a step or a batch, of which nothing is written."""
    config, store = study(world, "stages")
    for place in ("text", "arrow"):
        traps.lay(nodes.traps, place)
    left = {"kl", "search", "lambda"}  # in whichever order it comes to them
    while left:
        with Driver(config, nodes.address) as driver:
            for place in left:
                traps.lay(nodes.traps, place, driver.process.pid)
            assert driver.wait() == -signal.SIGKILL, driver.output
        nodes.settle()
        left = {place for place in left if (nodes.traps / place).exists()}
    with Driver(config, nodes.address) as driver:
        assert driver.wait() == 0, driver.output
    assert {file.name for file in nodes.traps.iterdir()} == {f"{place}.sprung" for place in traps.PLACES}
    compare(store, undisturbed)


@pytest.mark.parametrize("number", range(FIRST, FIRST + RUNS))
def test_a_study_under_faults_ends_like_an_undisturbed_one(
    number: int,
    seed: str,
    world: tuple[Path, Path, Path],
    bucket: Proxy,
    nodes: Nodes,
    undisturbed: Store,
    survived: Counter[str],
) -> None:
    todo = faults(seed, number, DEAR)
    kinds = {fault.kind for fault in todo}
    print(f"\nrun {number} of FAULT_SEED={seed}: {', '.join(map(str, todo))}")
    where = f"s3://{BUCKET}/run{number}" if kinds & {*IN_BUCKET} else ""
    hung: dict[str, Any] = {"failures": HUNG} if DEAR else {}
    kind_of_disk = FreezingDisk if "frozen" in kinds else Disk
    with nullcontext() if kinds.isdisjoint(ON_DISK) else kind_of_disk(world[0] / f"disk{number}") as disk:
        config, store = study(world, f"run{number}", str(disk.where / "store") if disk else where, **hung)
        try:
            met = disturbed(todo, config, store, nodes, disk, bucket)
            mend(bucket)
            compare(store, undisturbed)
        finally:
            mend(bucket)
            nodes.restore()
    survived.update(met)


def mend(bucket: Proxy) -> None:
    bucket.fail(0.0)
    bucket.slow(0.0)


def disturbed(
    todo: list[Fault], config: Path, store: Store, nodes: Nodes, disk: Disk | None, bucket: Proxy
) -> list[str]:
    """Run a study to its end, however often it takes; returns the kinds of the faults that met it."""
    met: list[str] = []
    driver = Driver(config, nodes.address)
    try:
        for fault in todo:
            deadline = time.monotonic() + TIMEOUT_S
            while done_or_none(store) < fault.after * UNITS and not driver.ended and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(fault.wait_s)
            if (kind := inject(fault, driver, store, nodes, disk, bucket)) is not None:
                met.append(kind)
            if driver.ended or fault.kind in ENDED + DEAR_ENDED:
                driver = resumed(fault, driver, config, nodes, disk)
        for _ in range(3):
            if driver.wait() == 0:
                return met
            driver = resumed(None, driver, config, nodes, disk)
        raise AssertionError(driver.output)
    finally:
        driver.end()  # the last one: each is waited for before the next


def done_or_none(store: Store) -> int:
    try:
        return done(store)
    except OSError:
        return 0


def inject(fault: Fault, driver: Driver, store: Store, nodes: Nodes, disk: Disk | None, bucket: Proxy) -> str | None:
    """Returns the kind of what was met, if anything was."""
    if driver.ended:
        return None
    choose = random.Random(fault.draw).choice
    how, _, title = fault.kind.rpartition(" ")
    if title in TITLES:
        found = strike(title, driver, store, nodes, choose, Process.suspend if how else Process.kill)
        return f"{how} {found}".strip() if found else None
    if fault.kind == "node":
        nodes.kill_node(choose)
        nodes.add()
    elif fault.kind == "raylet":
        nodes.kill_raylet(choose)
        nodes.add()
    elif fault.kind == "driver":
        driver.signal(signal.SIGKILL)
    elif fault.kind == "interrupt":
        driver.signal(signal.SIGTERM)
    elif fault.kind == "cluster":
        nodes.kill_head()
    elif fault.kind == "requests":
        bucket.fail(SHARE)
    elif fault.kind == "slow":
        bucket.slow(SLOW_S)
    elif fault.kind == "cut off":
        nodes.cut_off(choose, CUT_S)
        nodes.replace_lost()
    elif fault.kind == "asleep":
        driver.signal(signal.SIGSTOP)
        time.sleep(ASLEEP_S)
        driver.signal(signal.SIGCONT)
    else:
        strike_disk(fault.kind, driver, disk)
    return fault.kind


def strike_disk(kind: str, driver: Driver, disk: Disk | None) -> None:
    if kind == "frozen":
        assert isinstance(disk, FreezingDisk)
        with disk.frozen():
            driver.until(lambda: "has not answered for" in driver.output and "error: " in driver.output)
    elif kind == "full":
        assert disk
        disk.fill()
    elif kind == "read_only":
        assert disk
        disk.refuse()


def strike(
    kind: str,
    driver: Driver,
    store: Store,
    nodes: Nodes,
    choose: Callable[[list[Process]], Process],
    how: Callable[[Process], None],
) -> str | None:
    """Strike one process of a kind, or of another where the study is past that kind. Returns the kind."""
    while not driver.ended:
        present = {name: found for name in TITLES if (found := nodes.processes(name))}
        if kind not in present and present and kind != "evaluator" and all_trained(store):
            kind = choose(sorted(present))
        if kind in present:
            with suppress(NoSuchProcess):
                how(choose(present[kind]))
                return kind
        time.sleep(0.1)
    return None


def all_trained(store: Store) -> bool:
    try:
        return len(store.records()) >= len(CELLS)
    except OSError:
        return False


def resumed(fault: Fault | None, driver: Driver, config: Path, nodes: Nodes, disk: Disk | None) -> Driver:
    """The next run, after what stopped the last one is mended."""
    code = driver.wait()
    kind = fault.kind if fault else None
    if kind in ON_DISK and disk:
        if code != 0:
            assert code in (1, 2), driver.output
            said = "error: " in driver.output and "Traceback" not in driver.output
            assert said, driver.output
        disk.mend()
    nodes.restore()
    nodes.settle()
    return Driver(config, nodes.address)


def compare(store: Store, undisturbed: Store) -> None:
    """Nothing missing, nothing twice, nothing different, and nothing that `study.check` objects to."""
    for here, there in zip(tables(store), tables(undisturbed), strict=True):
        if isinstance(here, dict):
            assert here == there
        else:
            assert here.equals(there), [c for c in here.columns if not here[c].equals(there[c])]
    assert check([store.uri, "--repair"]) == 0
    assert check([store.uri]) == 0
