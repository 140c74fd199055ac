"""Training on from another adapter: as plain PEFT that begins with its weights, alone and beside others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from adapters.folders.folder import UnsupportedAdapter
from adapters.kinds.lora_weights import initial_weight
from study.config import Lora, Mixing, Validation
from study.models.resolve import Model
from tests.support.training import RECIPE, assert_close, job, told, train, training, weights
from tests.trainers.test_trainer import plain_peft
from trainers.checkpoint import Checkpoint
from trainers.job import Job, Setup, Trained
from trainers.worker import Worker

LAST = RECIPE.model_copy(update={"validation": Validation(fraction=0.2, keep="last"), "epochs": 2})


def file_bytes(trained: Trained) -> bytes:
    return (trained.folder / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def first(worker: Worker, model: Model, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of an adapter to begin with."""
    return file_bytes(train(worker, model, tmp_path_factory.mktemp("first"), job("x", count=14), LAST))


def after(start: bytes, name: str = "b", count: int = 12) -> Job:
    return replace(job(name, seed=8, count=count), start=start)


def test_equals_plain_peft_that_begins_with_its_weights(
    worker: Worker, model: Model, tmp_path: Path, first: bytes
) -> None:
    one = after(first)
    trained = train(worker, model, tmp_path / "1", one, LAST)
    assert_close(weights(trained), plain_peft(model, one, LAST), 2e-5)
    fresh = train(worker, model, tmp_path / "2", replace(one, start=None), LAST)
    assert file_bytes(trained) != file_bytes(fresh)


def test_what_begins_with_the_weights_of_a_fresh_adapter_is_that_to_the_bit(
    worker: Worker, model: Model, tmp_path: Path
) -> None:
    """Nothing but the weights is taken over."""
    one = job("b", seed=8, count=12)
    fresh = train(worker, model, tmp_path / "1", one, LAST)
    names = {name: tuple(tensor.shape) for name, tensor in weights(fresh).items()}
    start = {name: initial_weight(one.adapter_id, one.seed, name, shape) for name, shape in names.items()}
    trained = train(worker, model, tmp_path / "2", replace(one, start=save(start)), LAST)
    assert file_bytes(trained) == file_bytes(fresh)


def test_where_nothing_was_learned_it_is_what_it_began_with(
    worker: Worker, model: Model, tmp_path: Path, first: bytes
) -> None:
    still = LAST.model_copy(update={"learning_rate": 1e-30})
    trained = train(worker, model, tmp_path, after(first), still)
    assert file_bytes(trained) == first
    assert told(trained)["learned_nothing"]


def test_beside_others_as_alone_and_it_goes_on_bit_for_bit(
    worker: Worker, model: Model, tmp_path: Path, first: bytes
) -> None:
    """With dropout and slow weights; one begins afresh, two with an adapter, and one of these has several cells."""
    mixing = Mixing(order="reptile", weights="uniform", inner_steps=3, outer_rate=0.5)
    recipe = RECIPE.model_copy(update={"mixing": mixing, "lora": Lora(r=4, alpha=8, dropout=0.2), "epochs": 2})
    gang = [job("a", count=7), after(first, "b", 6), replace(after(first, "c", 9), cells=(4, 5))]
    setup, saved = Setup(model, recipe, training(2, micro_batch_size=3)), list[bytes]()
    whole = worker.train(setup, gang, tmp_path / "whole", None, lambda reached: saved.append(reached.to_bytes()))
    again = worker.train(setup, gang, tmp_path / "again", Checkpoint.from_bytes(saved[0]))
    spread = worker.train(Setup(model, recipe, training(3)), gang, tmp_path / "spread")
    for one, mine, resumed, other in zip(gang, whole, again, spread, strict=True):
        assert isinstance(mine, Trained)
        assert isinstance(resumed, Trained)
        assert isinstance(other, Trained)
        assert file_bytes(mine) == file_bytes(resumed)
        assert_close(weights(other), weights(mine))
        assert_close(weights(mine), weights(train(worker, model, tmp_path / "alone", one, recipe)))


@pytest.mark.parametrize("changes", [{"kind": "dora"}, {"lora": Lora(r=4, alpha=8, init="pissa")}])
def test_every_kind_goes_on_from_its_own_files(
    worker: Worker, model: Model, tmp_path: Path, changes: dict[str, object]
) -> None:
    recipe = LAST.model_copy(update=changes)
    start = file_bytes(train(worker, model, tmp_path / "first", job("x", count=6), recipe))
    still = recipe.model_copy(update={"learning_rate": 1e-30})
    assert file_bytes(train(worker, model, tmp_path / "still", after(start, count=6), still)) == start
    on = train(worker, model, tmp_path / "on", after(start, count=6), recipe)
    assert not told(on)["learned_nothing"]
    assert file_bytes(on) != start


def test_an_adapter_of_another_shape_is_refused(worker: Worker, model: Model, tmp_path: Path, first: bytes) -> None:
    (tmp_path / "file").write_bytes(first)
    tensors = load_file(tmp_path / "file")
    fewer = {name: tensor for name, tensor in tensors.items() if "q_proj" not in name}
    narrow = {
        name: tensor[:2] if ".lora_A." in name else tensor[:, :2].contiguous() for name, tensor in tensors.items()
    }
    for wrong in (fewer, narrow):
        with pytest.raises(UnsupportedAdapter, match="other modules or ranks"):
            train(worker, model, tmp_path / "out", after(save(wrong)), LAST)
    assert torch.isfinite(next(iter(weights(train(worker, model, tmp_path / "in", after(first), LAST)).values()))).all()
