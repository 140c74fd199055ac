"""Trials of a tiny study, stepped from the test itself, and how their adapters compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from evaluators.items.item import check_supported
from orchestrator.planning.grid import expand
from orchestrator.planning.survey import survey
from orchestrator.scheduling.waits import Waits
from orchestrator.training.checkpoints import begun
from orchestrator.training.context import TrialContext
from orchestrator.training.outcome import GangEnded
from orchestrator.training.trial import GangTrainer
from orchestrator.training.workers import WorkerGroup
from study.config import StudyConfig
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.models.resolve import resolve_all
from study.store.store import Store
from tests.support.tiny_world import make_config
from tests.support.training import assert_close

TASKS, LANGUAGES = ["next", "skip"], ["xx", "yy"]
RECIPE = {"lora": {"r": 4, "alpha": 8, "dropout": 0.1}, "learning_rate": 1.0e-3, "epochs": 20, "max_length": 64}


def study(world: tuple[Path, Path], folder: Path, *overrides: str, **more: Any) -> tuple[Path, StudyConfig]:
    model, tasks = world
    file = make_config(folder, [model], TASKS, LANGUAGES, tasks, **{"recipe": RECIPE, "targets": ["next/xx"], **more})
    return file, load(str(file), list(overrides))


def context_of(config: StudyConfig) -> TrialContext:
    library, models = TaskLibrary.of(config), resolve_all(config)
    found = survey(config, library, check_supported, print)
    units = {unit.adapter_id: unit for unit in expand(config, models, found.sources, found.targets).adapters}
    learned = (found.examples, Store(config.store), found.counts, found.prompts)
    return TrialContext(config, {model.name: model for model in models}, units, *learned)


def trainer_of(context: TrialContext, waits: Waits | None = None) -> GangTrainer:
    """What a trial does, on workers outside any placement group."""
    return GangTrainer(context, WorkerGroup(None, context.config.training, waits))


def trained(trainer: GangTrainer, context: TrialContext) -> GangEnded:
    """What becomes of all adapters of a study as one gang."""
    outcome = trainer.train(list(context.units), {})
    assert isinstance(outcome, GangEnded)
    return outcome


def adapters(store: Store) -> dict[str, Path]:
    return {name: Path(store.path(record.folder)) for name, record in store.records().items()}


def assert_equal(mine: Store, theirs: Store, exactly: bool) -> None:
    found, expected = adapters(mine), adapters(theirs)
    assert found.keys() == expected.keys()
    for name, folder in found.items():
        files = [path / "adapter_model.safetensors" for path in (folder, expected[name])]
        if exactly:
            assert files[0].read_bytes() == files[1].read_bytes()
        else:
            assert_close(load_file(files[0]), load_file(files[1]))


class TooLate(AssertionError):
    """A study has ended before it could be disturbed."""


def until(happened: Callable[[], bool], alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 400
    while not happened():
        if not alive():
            raise TooLate
        assert time.monotonic() < deadline
        time.sleep(0.05)


def farthest(store: Store) -> int:
    return max((checkpoint.step for checkpoint in begun(store)), default=0)
