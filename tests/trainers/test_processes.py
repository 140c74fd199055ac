"""Two real processes train what one does, at every ZeRO stage, even when a step has fewer rows than processes."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from pathlib import Path

import pytest

from study.models import Model
from tests.trainers.common import RECIPE, assert_close, job, train, training, weights
from trainers.job import Trained
from trainers.worker import Worker

STAGES = (0, 1, 2, 3)
ODD = RECIPE.model_copy(
    update={"batch_size": 3, "epochs": 2}
)  # with micro-batches of 1, one process has none in each step's last round


def work(rank: int, address: tuple[str, int], model: Model, out: Path) -> None:
    """One process of the group; leaves at once, for gloo's threads may abort at exit after ZeRO 3."""
    status = 1
    try:
        worker = Worker(rank, 2)
        worker.join(*address)
        worker.join(*address)
        for stage in STAGES:
            how = training(stage, micro_batch_size=1)
            results = worker.train(model, ODD, how, [job(count=21)], out / f"stage{stage}")
            assert len(results) == (rank == 0)
        status = 0
    except Exception:  # noqa: BLE001 - told to the parent by the exit code, and below
        traceback.print_exc()
    finally:
        os._exit(status)


@pytest.fixture(scope="module")
def by_two(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("by_two")
    address = Worker(0, 2).address()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, address, model, out)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    return out


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_equal_one(worker: Worker, model: Model, tmp_path: Path, by_two: Path, stage: int) -> None:
    expected = train(worker, model, tmp_path, job(count=21), ODD)
    assert_close(weights(Trained("a", by_two / f"stage{stage}" / "a", {})), weights(expected))
