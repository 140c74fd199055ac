"""A tiny study made on the fly: arithmetic-like questions in made-up languages, as lm-eval YAML over JSON data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from study.identity import score_id
from study.store.composed import compositions, held_out
from study.store.lease import Lease
from study.store.store import Store
from tests.support.forks import graft

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 900
CROWDED: dict[str, Any] = {  # for make_config: as many gangs and evaluators at a time as there is room for
    "training": {"resources_per_worker": {"CPU": 1}},
    "evaluators": {"resources": {"CPU": 1}},
}


def make_tasks(folder: Path, tasks: list[str], languages: list[str], train: int = 24, test: int = 12) -> Path:
    """Write `<task>_<language>.yaml` and its rows for every cell. A row asks which of three numbers comes next."""
    folder.mkdir(parents=True, exist_ok=True)
    for shift, task in enumerate(tasks, start=1):
        for language in languages:
            files = {}
            for split, start, count in (("train", 0, train), ("test", train, test)):
                rows = [
                    {
                        "id": f"{split}{i}",
                        "question": f"{language}: {i}, {i + shift},",
                        "options": [str(i + shift * k) for k in (1, 2, 3)],
                        "answer": i % 3,
                    }
                    for i in range(start, start + count)
                ]
                file = folder / f"{task}_{language}_{split}.jsonl"
                file.write_text("".join(json.dumps(row) + "\n" for row in rows))
                files[split] = str(file)
            definition = {
                "task": f"{task}_{language}",
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": files},
                "output_type": "multiple_choice",
                "training_split": "train",
                "test_split": "test",
                "doc_to_text": "{{question}}",
                "doc_to_choice": "options",
                "doc_to_target": "answer",
                "metric_list": [
                    {"metric": m, "aggregation": "mean", "higher_is_better": True} for m in ("acc", "acc_norm")
                ],
            }
            (folder / f"{task}_{language}.yaml").write_text(yaml.safe_dump(definition))
    return folder


def make_config(
    folder: Path, models: list[Path], tasks: list[str], languages: list[str], include_path: Path, **more: Any
) -> Path:
    """Write a study's YAML file for CPUs, with one gang and one evaluator at a time; its store is `folder/store`."""
    config = {
        "study": "tiny",
        "store": str(folder / "store"),
        "models": [{"id": str(model)} for model in models],
        "languages": languages,
        "tasks": [{"name": t, "lm_eval": f"{t}_{{language}}", "include_path": str(include_path)} for t in tasks],
        "seeds": [1],
        "recipe": {"lora": {"r": 4, "alpha": 8}, "learning_rate": 1.0e-2, "epochs": 2, "max_length": 64},
        "training": {"resources_per_worker": {"CPU": 1}, "gang_size": 8},
        "evaluators": {"resources": {"CPU": 1}, "min": 1, "max": 1},  # kept, since starting one takes longest
        **more,
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def environment(folder: Path, whole: bool = False) -> dict[str, str]:
    """For a process that runs a study: its own data caches, and no cluster but one that it starts, whole or lean."""
    own = {"RAY_ADDRESS": "local", "HF_DATASETS_CACHE": str(folder / "datasets"), "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **own, **graft.environment(whole)}


def sweep(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m orchestrator.sweep` within this process, on a cluster of its own.

    A process of its own takes longer to start than a tiny study takes: for tests that need one there are `sweep_apart`
    and `start`. The cluster is not shared: Ray's control service ends the actors of a driver that comes back to it from
    the same process (seen with Ray 2.60: each evaluator was gone as soon as it was registered).
    """
    import ray

    from orchestrator import command, sweep
    from tests.support.local_ray import lean

    out, err = StringIO(), StringIO()
    with _as_before(), lean(), redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "leave", _leave)
        os.environ["RAY_ADDRESS"] = "local"
        signal.signal(signal.SIGALRM, _too_late)
        signal.alarm(TIMEOUT_S)
        try:
            code = sweep.main([str(config), *arguments])
        except Ended as ended:
            (code,) = ended.args
        finally:
            ray.shutdown()
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())


class Ended(BaseException):
    """A study has ended its process early, with this exit code."""


def _leave(code: int, lease: Lease) -> NoReturn:
    lease.give_back()
    raise Ended(code)


def _too_late(number: int, frame: object) -> NoReturn:
    raise TimeoutError(f"the study takes more than {TIMEOUT_S} s")


@contextmanager
def _as_before() -> Iterator[None]:
    """What a study does to its process's environment and signals is undone when the block is left."""
    variables = dict(os.environ)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        signal.alarm(0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.environ.clear()
        os.environ.update(variables)


def sweep_apart(config: Path, *arguments: str, whole: bool = False) -> subprocess.CompletedProcess[str]:
    """`python -m orchestrator.sweep` with a cluster of its own: whole as a user runs it, or lean, a fork."""
    own = [sys.executable, "-m", "orchestrator.sweep"] if whole else graft.command("orchestrator.sweep")
    command = [*own, str(config), *arguments]
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment(config.parent, whole),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def start(config: Path, **pipes: Any) -> AbstractContextManager[subprocess.Popen[Any]]:
    """The same as a fork, not waited for, killed where a block ends before it does; quiet unless `pipes` say else."""
    command = graft.command("orchestrator.sweep", str(config))
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **pipes}
    return ended(subprocess.Popen(command, cwd=REPOSITORY, env=environment(config.parent), **pipes))


@contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """A process that is gone when the block is left, however that happens."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(condition: Callable[[], object], driver: subprocess.Popen[Any]) -> None:
    """Wait for something that happens in the midst of a driver's run."""
    deadline = time.monotonic() + 400
    while not condition():
        assert driver.poll() is None, "the study ended before"
        assert time.monotonic() < deadline
        time.sleep(0.1)  # each look costs what the study could use


def asked(store: Store) -> set[str]:
    """The score_ids that a store's grid asks for."""
    grid = store.read_grid()
    assert grid is not None
    subjects, targets = (table.column(0).to_pylist() for table in grid)
    tried = {one["adapter_id"] for one in compositions(store).to_pylist() if one["protocol"]}
    tried |= {row["subject_id"] for row in grid[0].to_pylist() if row["adapter_id"] is None}
    apart = set(held_out(store))
    pairs = ((subject, target) for subject in subjects for target in targets)
    return {score_id(*pair) for pair in pairs if pair[0] in tried or pair[1] not in apart}
