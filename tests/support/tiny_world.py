"""A tiny study made on the fly: arithmetic-like questions in made-up languages, as lm-eval YAML over JSON data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import yaml

from study.identity import score_id
from study.store.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]


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
    """Write a study's YAML file for CPUs; its store is `folder/store`."""
    config = {
        "study": "tiny",
        "store": str(folder / "store"),
        "models": [{"id": str(model)} for model in models],
        "languages": languages,
        "tasks": [{"name": t, "lm_eval": f"{t}_{{language}}", "include_path": str(include_path)} for t in tasks],
        "seeds": [1],
        "recipe": {"lora": {"r": 4, "alpha": 8}, "learning_rate": 1.0e-2, "epochs": 2, "max_length": 64},
        "training": {"resources_per_worker": {"CPU": 1}},
        "evaluators": {"resources": {"CPU": 1}},
        **more,
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def environment(folder: Path) -> dict[str, str]:
    """For a process that runs a study: its own data caches, and no cluster but the one it starts itself."""
    own = {"RAY_ADDRESS": "local", "HF_DATASETS_CACHE": str(folder / "datasets"), "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **own}


def sweep(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m orchestrator.sweep` as a user would run it."""
    command = [sys.executable, "-m", "orchestrator.sweep", str(config), *arguments]
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment(config.parent),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def start(config: Path, **pipes: Any) -> AbstractContextManager[subprocess.Popen[Any]]:
    """The same, not waited for, killed where a block ends before it does, and quiet unless `pipes` say otherwise."""
    command = [sys.executable, "-m", "orchestrator.sweep", str(config)]
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
    deadline = time.monotonic() + 200
    while not condition():
        assert driver.poll() is None, "the study ended before"
        assert time.monotonic() < deadline
        time.sleep(0.1)  # each look costs what the study could use


def asked(store: Store) -> set[str]:
    """The score_ids that a store's grid asks for."""
    grid = store.read_grid()
    assert grid is not None
    subjects, targets = (table.column(0).to_pylist() for table in grid)
    return {score_id(subject, target) for subject in subjects for target in targets}
