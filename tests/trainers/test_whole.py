"""Full fine-tuning: as transformers' Trainer does it, at every ZeRO stage; the base stays what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from adapters.base.spread import whole
from evaluators.subjects.on_base import AdapterError, adapter_on, load_base
from evaluators.subjects.touchstone import Touchstone
from study.models.resolve import Model
from tests.support.training import RECIPE, assert_close, job, train, training
from tests.trainers.test_gang import by_transformers
from trainers.checkpoint import Checkpoint
from trainers.job import Setup
from trainers.worker import Worker

LAST = RECIPE.validation.model_copy(update={"keep": "last"})
WHOLE = RECIPE.model_copy(update={"lora": None, "learning_rate": 1e-3, "validation": LAST})


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({}, 2),
        ({"weight_decay": 0.1, "max_grad_norm": 0.5}, 0),
        ({"schedule": "cosine"}, 1),
        ({"weight_decay": 0.1}, 3),
    ],
)
def test_equals_transformers_trainer(
    worker: Worker, model: Model, tmp_path: Path, changes: dict[str, Any], stage: int
) -> None:
    recipe = WHOLE.model_copy(update=changes)
    trained = train(worker, model, tmp_path / "mine", job(), recipe, training(stage, micro_batch_size=3))
    rows = worker.base.rows(job().examples, recipe.max_length, recipe.loss_on)
    expected = by_transformers(model, job(), rows, recipe, tmp_path / "trainer")
    found = load_file(trained.folder / "model.safetensors")
    assert_close(found, {name: tensor for name, tensor in expected.items() if name in found})
    assert expected.keys() - found.keys() <= {"lm_head.weight"}  # where it is tied
    untouched = AutoModelForCausalLM.from_pretrained(model.path).state_dict()
    for name, weight in worker.base.module.named_parameters():
        with whole([weight]):
            assert torch.equal(weight, untouched[name])


def test_goes_on_from_a_checkpoint(worker: Worker, model: Model, tmp_path: Path) -> None:
    files = []
    saved: list[bytes] = []
    start = None
    for name in ("whole", "later"):
        worker.train(
            Setup(model, WHOLE, training(2)), [job()], tmp_path / name, start, lambda c: saved.append(c.to_bytes())
        )
        files.append((tmp_path / name / job().adapter_id / "model.safetensors").read_bytes())
        start = Checkpoint.from_bytes(saved[0])
    assert files[0] == files[1]


def test_is_scored_in_the_bases_place(worker: Worker, model: Model, tmp_path: Path) -> None:
    trained = train(worker, model, tmp_path, job(), WHOLE)
    assert model.path not in (trained.folder / "config.json").read_text()
    base, ids = load_base(model), torch.tensor([[5, 9, 11]])
    before = [weight.clone() for weight in base.parameters()]
    plain = AutoModelForCausalLM.from_pretrained(trained.folder)
    with torch.no_grad(), adapter_on(base, trained.folder, Touchstone(base)) as model:
        torch.testing.assert_close(model(ids).logits, plain(ids).logits, rtol=1e-4, atol=1e-5)
    for weight, own in zip(base.parameters(), before, strict=True):
        assert torch.equal(weight, own)
    (trained.folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(AdapterError), adapter_on(base, trained.folder, Touchstone(base)):
        pass


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_layers_that_are_computed_again_change_no_byte(
    worker: Worker, model: Model, tmp_path: Path, stage: int
) -> None:
    files = []
    for again in (False, True):
        how = training(stage, micro_batch_size=3, gradient_checkpointing=again)
        trained = train(worker, model, tmp_path / str(again), job(), WHOLE, how)
        files.append((trained.folder / "model.safetensors").read_bytes())
    assert files[0] == files[1]
