"""Two real processes train a gang as one does, with dropout, at every ZeRO stage, even where a step has few rows."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from pathlib import Path

import pytest

from study.config import Lora
from study.models import Model
from tests.trainers.common import RECIPE, assert_close, job, train, training, weights
from trainers.job import Trained
from trainers.worker import Worker

STAGES = (0, 1, 2, 3)
GANG = [job("a", count=21), job("b", seed=8, count=6)]
ODD = RECIPE.model_copy(
    update={"batch_size": 3, "epochs": 2, "lora": Lora(r=4, alpha=8, dropout=0.2)}
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
            results = worker.train(model, ODD, how, GANG, out / f"stage{stage}")
            assert len(results) == (len(GANG) if rank == 0 else 0)
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
    for one in GANG:
        expected = train(worker, model, tmp_path, one, ODD)
        assert_close(weights(Trained("a", by_two / f"stage{stage}" / one.adapter_id, {})), weights(expected))
