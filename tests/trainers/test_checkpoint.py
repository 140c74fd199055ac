"""A gang that goes on from a checkpoint ends as one that nothing has disturbed, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from study.config import Lora, ModelConfig, Validation
from study.models.resolve import Model, resolve
from tests.support.training import RECIPE, assert_close, job, told, training, weights
from trainers.checkpoint import Checkpoint
from trainers.checkpoint_header import header
from trainers.job import Setup, Trained
from trainers.worker import Worker

GANG = [job("a", count=21), job("b", seed=8, count=6), job("c", count=6)]
LAST = Validation(fraction=0.2, keep="last")
RECIPE_3 = RECIPE.model_copy(update={"lora": Lora(r=4, alpha=8, dropout=0.2), "weight_decay": 0.1, "epochs": 3})


def run(
    worker: Worker, model: Model, out: Path, stage: int, start: bytes | None = None, gang: list[Any] = GANG
) -> tuple[list[Trained], list[bytes]]:
    saved: list[bytes] = []
    begun = None if start is None else Checkpoint.from_bytes(start)
    how = training(stage, micro_batch_size=5)
    done = worker.train(Setup(model, RECIPE_3, how), gang, out, begun, lambda c: saved.append(c.to_bytes(rows=5)))
    assert all(isinstance(result, Trained) for result in done), done
    return [result for result in done if isinstance(result, Trained)], saved


def undisturbed_part(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("seconds", "resumed_at_steps")}


@pytest.mark.parametrize(("dtype", "stage"), [("float32", 0), ("float32", 2), ("float32", 3), ("bfloat16", 1)])
def test_going_on_changes_no_bit(worker: Worker, tiny_model_dir: Path, tmp_path: Path, dtype: str, stage: int) -> None:
    """From any epoch's end, the last included: weights, and all that the record says of the training."""
    model = resolve(ModelConfig(id=str(tiny_model_dir)), dtype, "models[0]")
    expected, saved = run(worker, model, tmp_path / "whole", stage)
    assert [header(data)["step"] for data in saved] == [2, 4, 6, 10, 15]  # 2 steps an epoch for two, then 5 for one
    for number in range(5) if stage == 2 else (0,):
        data = saved[number]
        actual, later = run(worker, model, tmp_path / str(number), stage, data)
        assert len(later) == len(saved) - number - 1
        for mine, theirs in zip(actual, expected, strict=True):
            name = "adapter_model.safetensors"
            assert (mine.folder / name).read_bytes() == (theirs.folder / name).read_bytes()
            assert undisturbed_part(told(mine)) == undisturbed_part(told(theirs))
            assert told(mine)["resumed_at_steps"] == [header(data)["step"]]
        assert all(header(data)["resumed"] == told(mine)["resumed_at_steps"] for data in later)


def test_any_members_go_on_from_the_gangs_checkpoint(worker: Worker, model: Model, tmp_path: Path) -> None:
    """As after an out-of-memory; and a ZeRO stage does not matter."""
    expected, saved = run(worker, model, tmp_path / "whole", 2)
    part, _ = run(worker, model, tmp_path / "part", 3, saved[0], [GANG[2], GANG[0]])
    for mine, theirs in zip(part, (expected[2], expected[0]), strict=True):
        assert_close(weights(mine), weights(theirs))


def test_the_time_before_a_gang_was_cut_counts_once(worker: Worker, model: Model, tmp_path: Path) -> None:
    """Nothing here takes a thousand seconds but what the checkpoint says of the time before."""
    _, saved = run(worker, model, tmp_path / "whole", 2)
    long_ago = replace(Checkpoint.from_bytes(saved[1]), seconds=1e6).to_bytes(rows=5)
    parts = [GANG[:1], GANG[1:]]
    records = []
    for number, part in enumerate(parts):
        done, later = run(worker, model, tmp_path / str(number), 2, long_ago, part)
        records += [told(result) for result in done]
        again, _ = run(worker, model, tmp_path / f"again{number}", 2, later[0], part)
        assert sum(told(one)["seconds"] for one in again) == pytest.approx(
            sum(told(one)["seconds"] for one in done), abs=1e3
        )
    assert sum(record["seconds"] for record in records) == pytest.approx(1e6, abs=1e3)
    assert min(record["seconds"] for record in records) > 1e4


def files_of(trained: Trained) -> dict[str, bytes]:
    files = (file for file in trained.folder.rglob("*") if file.is_file())
    return {file.relative_to(trained.folder).as_posix(): file.read_bytes() for file in files}


def test_every_epoch_is_written_as_training_that_ends_there(worker: Worker, model: Model, tmp_path: Path) -> None:
    """In a gang, and where it goes on from a checkpoint, bit for bit."""
    constant = {"schedule": "constant", "warmup_ratio": 0.0}
    recipe = RECIPE_3.model_copy(update={**constant, "score_epochs": "all"})
    saved: list[bytes] = []
    setup = Setup(model, recipe, training(2))
    whole = worker.train(setup, GANG, tmp_path / "whole", None, lambda c: saved.append(c.to_bytes()))
    on = worker.train(setup, GANG, tmp_path / "on", Checkpoint.from_bytes(saved[2]))
    short = recipe.model_copy(update={"epochs": 2, "score_epochs": "kept", "validation": LAST})
    ended = worker.train(Setup(model, short, training(2)), GANG, tmp_path / "short")
    for mine, again, other in zip(whole, on, ended, strict=True):
        assert isinstance(mine, Trained)
        assert isinstance(again, Trained)
        assert isinstance(other, Trained)
        assert files_of(mine) == files_of(again)
        best = mine.course.best_epoch
        second = mine.folder if best == 2 else mine.folder / "epoch2"
        assert len({file.rpartition("/")[0] for file in files_of(mine)}) == 3
        assert_close(load_file(second / "adapter_model.safetensors"), weights(other))
        assert [one.steps for one in mine.course.epochs][-1] == mine.course.steps
        assert mine.course.epochs[-1].tokens == mine.course.tokens.useful
