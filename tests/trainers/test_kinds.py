"""Every kind of tuning trains as PEFT's own modules do, step by step, in a gang as alone, and leaves the base alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model, set_peft_model_state_dict
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file

from adapters.base.fingerprint import changed, fingerprint
from adapters.kinds import lora_weights as lora
from adapters.kinds.kind import kind_of
from study.config import Recipe, Validation
from study.data.held_out import split
from study.models.resolve import Model
from tests.support.plain_peft import Learned, learn
from tests.support.quantised import loaded
from tests.support.training import (
    RECIPE,
    Weights,
    answer_loss,
    assert_close,
    job,
    told,
    training,
    weights,
    with_adapter,
)
from trainers.checkpoint import Checkpoint
from trainers.job import Setup, Trained
from trainers.worker import Worker

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
GANG = [job("a", count=12), job("b", seed=8, count=9)]
LORA = {"r": 4, "alpha": 8}
DROPPING = {**LORA, "dropout": 0.2, "rslora": True}
KINDS: dict[str, dict[str, Any]] = {
    "dora": {"kind": "dora", "lora": LORA},
    "dora+": {"kind": "dora", "lora": {**DROPPING, "lr_ratio": 8}},
    "pissa": {"lora": {**DROPPING, "init": "pissa"}},
    "olora": {"lora": {**LORA, "init": "olora"}},
    "lora+": {"lora": {**LORA, "lr_ratio": 8}},
    "ia3": {"kind": "ia3", "learning_rate": 5e-2},
    "prompt tuning": {"kind": "prompt_tuning", "prompt_tuning": {"num_virtual_tokens": 3}, "learning_rate": 5e-2},
    "prefix tuning": {"kind": "prefix_tuning", "prefix_tuning": {"num_virtual_tokens": 3}, "learning_rate": 5e-2},
}


def recipe_of(name: str, **more: Any) -> Recipe:
    stated = RECIPE.model_dump(mode="json") | {"validation": Validation(fraction=0.2, keep="last").model_dump()}
    return Recipe.model_validate({**stated, "epochs": 2, **KINDS[name], **more})


def gang_of(recipe: Recipe) -> list[Any]:
    return GANG if kind_of(recipe).shares_base else GANG[1:]


def train(worker: Worker, model: Model, out: Path, recipe: Recipe, gang: Any = GANG, **how: Any) -> dict[str, Trained]:
    found = worker.train(Setup(model, recipe, training(**how)), gang, out)
    assert all(isinstance(one, Trained) for one in found), found
    return {one.adapter_id: one for one in found if isinstance(one, Trained)}


def by_peft(worker: Worker, model: Model, one: Any, recipe: Recipe, folder: Path) -> tuple[Weights, Learned]:
    """What PEFT's own modules come to, and what PEFT writes of them."""
    assert worker.base is not None
    base, kind = loaded(model.path, model.quantization), kind_of(recipe)
    own = recipe.low_rank
    config: Any = kind.config(base) if own is None else lora.lora_config(own)
    if own is not None:
        config.use_dora, config.init_lora_weights = recipe.kind == "dora", own.init if own.init != "default" else True
    wrapped: Any = get_peft_model(base, config)
    if own is None:
        begun = kind.sheet(base, [(one.adapter_id, one.seed)], torch.device("cpu")).copies(0)
        for name, weight in wrapped.named_parameters():
            if weight.requires_grad:
                weight.data = begun.get("prompt_embeddings", begun.get(name.replace(".default", "")))
    elif own.init == "default":
        names = [n for n, _ in wrapped.named_parameters() if ".lora_A." in n]
        shapes = {n.replace(".default.", "."): tuple(wrapped.get_parameter(n).shape) for n in names}
        start = {n: lora.initial_weight(one.adapter_id, one.seed, n, shape) for n, shape in shapes.items()}
        set_peft_model_state_dict(wrapped, start)
    else:
        wrapped.peft_config["default"].init_lora_weights = True
        wrapped.save_pretrained(folder / "start")

    def optimizer(trained: Any) -> torch.optim.Optimizer:
        rate, decay = recipe.learning_rate, recipe.weight_decay
        if own is not None and own.lr_ratio is not None:
            how = {"lr": rate, "loraplus_lr_ratio": own.lr_ratio, "loraplus_weight_decay": decay}
            return create_loraplus_optimizer(trained, torch.optim.AdamW, **how)
        return torch.optim.AdamW([w for w in trained.parameters() if w.requires_grad], lr=rate, weight_decay=decay)

    rows = worker.base.rows(one.examples, recipe.max_length, recipe.loss_on)
    for module in wrapped.modules():
        if type(module).__module__.startswith("bitsandbytes"):
            module.train()  # as Trainer has it; a base's dropout stays off, as in all trainings
    learned = learn(wrapped, one, rows, recipe, optimizer)
    if own is None or own.init == "default":
        wrapped.save_pretrained(folder / "end")
    else:
        wrapped.save_pretrained(folder / "end", path_initial_model_for_weight_conversion=str(folder / "start"))
    return load_file(folder / "end" / "adapter_model.safetensors"), learned


@pytest.mark.parametrize("name", KINDS)
def test_a_gang_trains_as_pefts_modules_do(worker: Worker, model: Model, tmp_path: Path, name: str) -> None:
    recipe = recipe_of(name, weight_decay=0.1, max_grad_norm=0.5)
    one = GANG[1]
    mine = train(worker, model, tmp_path / "gang", recipe, gang_of(recipe))[one.adapter_id]
    expected, learned = by_peft(worker, model, one, recipe, tmp_path)
    losses = [epoch["train_loss"] for epoch in told(mine)["epochs"]]
    assert losses == pytest.approx(learned.losses, rel=1e-5)
    assert losses[-1] < losses[0]
    assert_close(weights(mine), expected)
    assert_close(weights(train(worker, model, tmp_path / "alone", recipe, [one], stage=3)[one.adapter_id]), expected)


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_is_in_peft_what_was_trained(worker: Worker, model: Model, tmp_path: Path, name: str) -> None:
    """By the loss of the examples that are held out, on a base that nobody has had in hand."""
    one = GANG[0]
    trained = train(worker, model, tmp_path, recipe_of(name), [one])[one.adapter_id]
    _, held_out = split(len(one.examples), recipe_of(name).validation)
    with torch.no_grad():
        theirs = answer_loss(with_adapter(model, trained.folder), model, [one.examples[i] for i in held_out])
    assert told(trained)["epochs"][-1]["validation_loss"] == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_who_goes_on_from_a_checkpoint_ends_alike(worker: Worker, model: Model, tmp_path: Path, name: str) -> None:
    """Bit for bit, as one that nothing has disturbed."""
    saved: list[bytes] = []
    setup, gang = Setup(model, recipe_of(name), training()), gang_of(recipe_of(name))
    whole = worker.train(setup, gang, tmp_path / "whole", save=lambda one: saved.append(one.to_bytes()))
    rest = worker.train(setup, gang, tmp_path / "rest", start=Checkpoint.from_bytes(saved[0]))
    for one, other in zip(whole, rest, strict=True):
        assert isinstance(one, Trained)
        assert isinstance(other, Trained)
        assert other.conditions.resumed_at_steps
        assert bytes_of(one) == bytes_of(other)


@pytest.mark.parametrize("name", ["dora", "pissa", "ia3", "prompt tuning", "prefix tuning"])
def test_a_stage_begins_with_what_another_has_learned(worker: Worker, model: Model, tmp_path: Path, name: str) -> None:
    """At a rate that moves nothing it ends where the other did."""
    first = train(worker, model, tmp_path / "first", recipe_of(name), GANG[1:])["b"]
    still = recipe_of(name, learning_rate=1e-30)
    second = train(
        worker,
        model,
        tmp_path / "second",
        still,
        [replace(GANG[1], start=(first.folder / "adapter_model.safetensors").read_bytes())],
    )["b"]
    assert_close(weights(second), weights(first), 1e-6)


@pytest.mark.parametrize(("name", "stage"), [("dora+", 2), ("pissa", 3)])
def test_layers_that_are_computed_again_change_no_byte(
    worker: Worker, model: Model, tmp_path: Path, name: str, stage: int
) -> None:
    kept, again = (
        train(worker, model, tmp_path / str(one), recipe_of(name), stage=stage, gradient_checkpointing=one)
        for one in (False, True)
    )
    assert [bytes_of(one) for one in kept.values()] == [bytes_of(one) for one in again.values()]


def test_kinds_leave_the_base_to_each_other_as_it_was(worker: Worker, model: Model, tmp_path: Path) -> None:
    """Each kind after each other kind, and after itself: the same bytes, on a base of the same bits."""
    one, before, first = job("e", count=4), None, dict[str, bytes]()
    for name in walk(["dora", "pissa", "ia3", "prompt tuning", "prefix tuning"]):
        found = train(worker, model, tmp_path, recipe_of(name, epochs=1), [one])[one.adapter_id]
        assert worker.base is not None
        before = before or fingerprint(worker.base.module)
        assert changed(worker.base.module, before) is None
        assert first.setdefault(name, bytes_of(found)) == bytes_of(found), name


def walk(names: list[str]) -> list[str]:
    """Every one after every one: pairs of neighbours are all there are."""
    found = [names[0]]
    for i, name in enumerate(names):
        found.append(name)
        for other in names[i + 1 :]:
            found += [other, name]
    return found


def bytes_of(trained: Trained) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(trained.folder.iterdir()))
