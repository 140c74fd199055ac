"""Which tests are `unit`: all but those in APART and WHOLE and those marked `processes`. They start no process, Ray or
DeepSpeed, and make no whole thing of the kind that costs seconds.

The former is held while they run, whichever command runs them; `make unit` does not even import the others.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

APART = (
    "tests/clusters",
    "tests/docs/test_tutorial.py",
    "tests/device",
    "tests/examples",
    "tests/faults",
    "tests/orchestrator/scoring",
    "tests/orchestrator/test_submit.py",
    "tests/orchestrator/test_sweep.py",
    "tests/orchestrator/training/test_trial.py",
    "tests/orchestrator/training/test_tune.py",
    "tests/trainers",
    "tests/study/models/test_hub.py",
    "tests/study/store/test_bucket.py",
    "tests/study/store/test_killed.py",
    "tests/zoo",
)
WHOLE = (  # adapters on many models, scored beside PEFT or lm-eval; reports of studies; stores under many readers
    "tests/evaluators/items/test_tokenised.py",
    "tests/evaluators/subjects/test_quantised.py",
    "tests/evaluators/subjects/test_sharing.py",
    "tests/evaluators/subjects/test_starts.py",
    "tests/evaluators/test_architectures.py",
    "tests/evaluators/test_composed.py",
    "tests/evaluators/test_evaluator.py",
    "tests/evaluators/test_groups.py",
    "tests/evaluators/test_parity.py",
    "tests/evaluators/test_random_adapters.py",
    "tests/evaluators/test_samples.py",
    "tests/evaluators/test_stock.py",
    "tests/evaluators/test_texts.py",
    "tests/analysis/page/test_combinations.py",
    "tests/analysis/page/test_files.py",
    "tests/analysis/page/test_recipes.py",
    "tests/analysis/test_opened.py",
    "tests/analysis/test_publish.py",
    "tests/analysis/test_report.py",
    "tests/study/store/test_compaction.py",
)
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}
ASKS = {"uname", "git"}  # Python's platform module, once, and which commit this is
_held: list[str] = []  # the unit test that runs now


def is_apart(path: str) -> bool:
    """Whether a file or folder, relative to the repository, is none of unit tests."""
    return any(path == apart or path.startswith(f"{apart}/") for apart in APART + WHOLE)


def mark(items: list[pytest.Item]) -> None:
    for item in items:
        if not is_apart(item.nodeid.partition("::")[0]) and item.get_closest_marker("processes") is None:
            item.add_marker("unit")


@contextmanager
def held(item: pytest.Item) -> Iterator[None]:
    """While a unit test or its fixtures run, starting a process fails it; so does, at its end, what it has loaded."""
    if item.get_closest_marker("unit") is None:
        yield
        return
    before = loaded()
    _held.append(item.nodeid)
    try:
        yield
    finally:
        _held.clear()
    if more := loaded() - before:
        pytest.fail(
            f"a unit test needs no {' and no '.join(sorted(more))}: mark it `processes`, or add its file to APART"
        )


def loaded() -> set[str]:
    """What no unit test needs, and is there."""
    ray = sys.modules.get("ray")
    return {"deepspeed"} & sys.modules.keys() | ({"Ray"} if ray is not None and ray.is_initialized() else set())


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if not _held or event not in STARTS or threading.current_thread() is not threading.main_thread():
        return
    if not arguments or arguments[0] not in ASKS:
        pytest.fail(f"a unit test starts no process ({event} {arguments[:2]}): mark it `processes`")


sys.addaudithook(_watch)
