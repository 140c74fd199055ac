"""Trials whose worker runs out of memory for real: less is trained at once, and the same adapters result.

The worker's address space is limited from outside, as `ulimit -v` does. A step's logits, their softmax and its gradient
are 0.5 GB each per adapter, for the vocabulary is large and all rows are equally long; beside them nothing counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import ray
import torch
from transformers import AutoModelForCausalLM

from orchestrator.training.context import TrialContext
from orchestrator.training.trial import GangTrainer
from orchestrator.training.workers import WorkerGroup
from study.faults.kinds import OUT_OF_MEMORY
from study.store.store import Store
from tests.support.local_ray import local_ray
from tests.support.tiny_models import make_model
from tests.support.tiny_world import make_tasks
from tests.support.trials import LANGUAGES, TASKS, assert_equal, context_of, study, trained

VOCABULARY = 150_000
ROOM_FOR_ONE, ROOM_FOR_HALF = 2200 << 20, 1050 << 20  # a step takes about 2.9 GB with two adapters, 1.45 GB with one
ROOM_FOR_NONE = 100 << 20  # less than a row's
RECIPE = {"lora": {"r": 4, "alpha": 8}, "epochs": 2, "batch_size": 8, "max_length": 100, "loss_on": "all"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("world")
    model = make_model(folder / "tiny", spread=0.2)
    large = AutoModelForCausalLM.from_pretrained(model)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # one draw in 60 has a gradient near Adam's epsilon, whose last bits make 5e-4 of a weight
        large.resize_token_embeddings(VOCABULARY, mean_resizing=False)
    large.save_pretrained(model)
    return model, make_tasks(folder / "tasks", TASKS, LANGUAGES, train=8)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_ray(cpus=1):
        yield


def two_adapters(world: tuple[Path, Path], folder: Path) -> TrialContext:
    """A study of two adapters that learn from rows cut to one length, and may not run out of memory."""
    long = {"include_path": str(world[1]), "train": {"doc_to_text": "{{question * 20}}"}}
    tasks = [{"name": task, "lm_eval": f"{task}_{{language}}", **long} for task in TASKS]
    more = {"recipe": RECIPE, "sources": ["next/xx", "skip/yy"], "failures": {"out_of_memory": 0}}
    return context_of(study(world, folder, f"tasks={json.dumps(tasks)}", **more)[1])


@pytest.fixture(scope="module")
def unlimited(
    cluster: None, world: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[WorkerGroup, Store]:
    """A worker that has trained both at once, and is warm; and the store that they are in."""
    context = two_adapters(world, tmp_path_factory.mktemp("unlimited"))
    group = WorkerGroup(None, context.config.training)
    assert len(trained(GangTrainer(context, group), context).trained) == 2
    assert how(context.store) == [(2, 2048)] * 2
    return group, context.store


@contextmanager
def limited(group: WorkerGroup, room: int) -> Iterator[psutil.Process]:
    """The only worker of a group, with so many bytes to spare."""
    worker = psutil.Process(ray.get(group.workers[0].__ray_call__.remote(lambda _: os.getpid())))
    worker.rlimit(psutil.RLIMIT_AS, (worker.memory_info().vms + room, -1))
    yield worker
    worker.rlimit(psutil.RLIMIT_AS, (-1, -1))


def how(store: Store) -> list[tuple[int, int]]:
    """Gang size and tokens per forward pass of each adapter."""
    return [(record.conditions.gang_size, record.conditions.micro_batch_tokens) for record in store.records().values()]


@pytest.mark.parametrize(
    ("room", "expected"),
    [(ROOM_FOR_ONE, (2, 800)), (ROOM_FOR_HALF, (2, 400))],
    ids=["fewer tokens per pass, which no budget limits", "fewer still"],
)
def test_the_same_adapters_come_out_of_less_memory(
    unlimited: tuple[WorkerGroup, Store],
    world: tuple[Path, Path],
    tmp_path: Path,
    room: int,
    expected: tuple[int, int],
) -> None:
    group, store = unlimited
    context = two_adapters(world, tmp_path)
    with limited(group, room) as worker:
        outcome = trained(GangTrainer(context, group), context)
        assert worker.is_running()
    assert outcome.failed == ()
    assert how(context.store) == [expected] * 2
    assert_equal(context.store, store, exactly=False)


def test_who_may_not_run_out_of_memory_again_is_recorded(
    unlimited: tuple[WorkerGroup, Store], world: tuple[Path, Path], tmp_path: Path
) -> None:
    context = two_adapters(world, tmp_path)
    with limited(unlimited[0], ROOM_FOR_NONE):
        outcome = trained(GangTrainer(context, unlimited[0]), context)
    assert outcome.trained == ()
    assert [(failure.kind, failure.attempts) for failure in outcome.failed] == [(OUT_OF_MEMORY, 1)] * 2
    assert context.store.records() == {}
