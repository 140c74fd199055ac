"""Staying near the base: KL on other tasks' prompts and the norm of ΔW, as computed by plain means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapters.bank.norms import squared_norms
from adapters.kinds import lora_weights as lora
from adapters.kinds.kind import kind_of
from study.config import KeepNearBase, Lora, Mixing, Recipe, Validation
from study.data.example import Example
from study.data.held_out import split
from study.models.resolve import Model
from tests.support.training import RECIPE, Weights, answer_loss, assert_close, job, told, train, training, weights
from trainers.batch import GangRow, collate_prompts
from trainers.checkpoint import Checkpoint
from trainers.data import steps
from trainers.engine import GangModel
from trainers.job import Job, Setup, Trained
from trainers.learning_rates import learning_rates
from trainers.near import drawn
from trainers.worker import Worker

OTHERS = (job("x", count=5).examples, job("y", count=9).examples)
NEAR = RECIPE.model_copy(update={"keep_near_base": KeepNearBase(kl=0.5, l2=0.02, kl_batch=2)})
LAST = NEAR.model_copy(update={"validation": Validation(fraction=0.2, keep="last"), "epochs": 2})


def beside(one: Job) -> Job:
    return replace(one, prompts=OTHERS)


def file_bytes(trained: Trained) -> bytes:
    return (trained.folder / "adapter_model.safetensors").read_bytes()


def kl_by_peft(wrapped: Any, model: Model, examples: tuple[Example, ...]) -> torch.Tensor:
    """The mean of KL(base ‖ adapter) over all tokens of the prompts, one prompt at a time."""
    tokenizer, found = AutoTokenizer.from_pretrained(model.path), []
    for one in examples:
        ids = torch.tensor([tokenizer.encode(one.prompt)])
        with torch.no_grad(), wrapped.disable_adapter():
            base = torch.distributions.Categorical(logits=wrapped(input_ids=ids).logits[0])
        own = torch.distributions.Categorical(logits=wrapped(input_ids=ids).logits[0])
        found.append(torch.distributions.kl_divergence(base, own))
    return torch.cat(found).mean()


def dense(wrapped: Any) -> torch.Tensor:
    """Σ‖ΔW‖² from the products themselves."""
    modules = [module for module in wrapped.modules() if hasattr(module, "get_delta_weight")]
    return torch.stack([module.get_delta_weight("default").square().sum() for module in modules]).sum()


def by_peft(model: Model, one: Job, recipe: Recipe) -> tuple[Any, Weights]:
    """The same training as a loop over transformers and PEFT."""
    assert recipe.lora is not None
    near, count = recipe.keep_near_base, recipe.keep_near_base.kl_batch or 0
    wrapped: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(model.path), lora.lora_config(recipe.lora))
    names = {n.replace(".default.", "."): p for n, p in wrapped.named_parameters() if p.requires_grad}
    start = {n: lora.initial_weight(one.adapter_id, one.seed, n, tuple(p.shape)) for n, p in names.items()}
    set_peft_model_state_dict(wrapped, start)
    optimizer = torch.optim.AdamW(names.values(), weight_decay=recipe.weight_decay)
    learn, _ = split(len(one.examples), recipe.validation)
    plan = [step for epoch in range(recipe.epochs) for step in steps(learn, recipe.batch_size, one.seed, epoch)]
    prompts = drawn(one.prompts, count, one.seed, len(plan))
    for number, (step, rate) in enumerate(zip(plan, learning_rates(recipe, len(plan)), strict=True)):
        optimizer.param_groups[0]["lr"] = rate
        loss = answer_loss(wrapped, model, [one.examples[i] for i in step])
        loss = loss + near.kl * kl_by_peft(wrapped, model, prompts[number * count : (number + 1) * count])
        (loss + near.l2 * dense(wrapped)).backward()
        torch.nn.utils.clip_grad_norm_(names.values(), recipe.max_grad_norm or 0.0)
        optimizer.step()
        optimizer.zero_grad()
    return wrapped, {name: parameter.detach() for name, parameter in names.items()}


def test_as_plain_peft_and_nearer_than_without(worker: Worker, model: Model, tmp_path: Path) -> None:
    """In a gang of two seeds, which draw other prompts; far prompts and large weights have come nearer."""
    gang = [beside(job("a", count=14)), beside(job("b", seed=8, count=9))]
    together = worker.train(Setup(model, LAST, training(2)), gang, tmp_path / "gang")
    for one, mine in zip(gang, together, strict=True):
        assert isinstance(mine, Trained)
        read = drawn(OTHERS, 2, one.seed, told(mine)["steps"])
        tokenizer = AutoTokenizer.from_pretrained(model.path)
        assert told(mine)["tokens"]["near"] == sum(len(tokenizer.encode(example.prompt)) for example in read)
        wrapped, expected = by_peft(model, one, LAST)
        assert_close(weights(mine), expected, 1e-3)
        prompts = tuple(example for cell in OTHERS for example in cell)
        with torch.no_grad():
            near, small = float(kl_by_peft(wrapped, model, prompts)), float(dense(wrapped))
            free = train(
                worker, model, tmp_path / "free", one, RECIPE.model_copy(update={"validation": LAST.validation})
            )
            set_peft_model_state_dict(wrapped, weights(free))
            assert near < float(kl_by_peft(wrapped, model, prompts))
            assert small < float(dense(wrapped))


def test_where_nothing_keeps_it_near_it_is_what_it_was(worker: Worker, model: Model, tmp_path: Path) -> None:
    plain = train(worker, model, tmp_path / "plain", job())
    zero = RECIPE.model_copy(update={"keep_near_base": KeepNearBase(kl=0.0, l2=0.0)})
    assert file_bytes(train(worker, model, tmp_path / "zero", beside(job()), zero)) == file_bytes(plain)


def test_in_a_gang_as_alone_and_it_goes_on_bit_for_bit(worker: Worker, model: Model, tmp_path: Path) -> None:
    """With dropout, and with slow weights beside; one of two cells, one of one, which ends earlier."""
    mixing = Mixing(order="reptile", weights="uniform", inner_steps=3, outer_rate=0.5)
    changes = {"mixing": mixing, "lora": Lora(r=4, alpha=8, dropout=0.2), "epochs": 2}
    recipe = NEAR.model_copy(update=changes)
    two = Job("a", 7, job("a", count=7).examples + job("c", count=8).examples, (7, 8), OTHERS)
    gang, saved = [two, beside(job("b", seed=8, count=6))], list[bytes]()
    setup = Setup(model, recipe, training(2, micro_batch_size=3))
    whole = worker.train(setup, gang, tmp_path / "whole", None, lambda reached: saved.append(reached.to_bytes()))
    again = worker.train(setup, gang, tmp_path / "again", Checkpoint.from_bytes(saved[0]))
    spread = worker.train(Setup(model, recipe, training(3)), gang, tmp_path / "spread")
    for one, mine, resumed, other in zip(gang, whole, again, spread, strict=True):
        assert isinstance(mine, Trained)
        assert isinstance(resumed, Trained)
        assert isinstance(other, Trained)
        assert file_bytes(mine) == file_bytes(resumed)
        assert told(mine)["tokens"] == told(resumed)["tokens"]
        assert_close(weights(other), weights(mine))
        alone = train(worker, model, tmp_path / "alone", one, recipe)
        assert_close(weights(mine), weights(alone))
        for actual, expected in zip(told(mine)["epochs"], told(alone)["epochs"], strict=True):
            assert actual == pytest.approx(expected, rel=1e-4)


def test_an_adapter_that_has_learned_nothing_is_where_the_base_is(worker: Worker, model: Model, tmp_path: Path) -> None:
    """Not so one with weights, whose KL is PEFT's, whatever stands beside it."""
    train(worker, model, tmp_path, job(count=4))  # so that the base is there
    base = worker.base
    assert base is not None
    sheet = kind_of(RECIPE).sheet(base.module, [("a", 7), ("b", 7)], torch.device("cpu"))
    ours = GangModel(sheet)
    try:
        rows = base.prompts(OTHERS[1], 64)
        batch = collate_prompts([GangRow(slot, row, 1.0, 0) for slot in (0, 1) for row in rows], 2, torch.device("cpu"))
        assert len(batch.base.input_ids) == len(set(rows)) < len(batch.own.input_ids)
        assert ours(batch).abs().max() < 1e-6
        assert not ours(None).any()
        with torch.no_grad():
            sheet.weights[1].normal_(std=0.1, generator=torch.Generator().manual_seed(1))
        kl, norms = ours(batch), ours(None)
    finally:
        ours.detach()
    assert RECIPE.lora is not None
    wrapped: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(model.path), lora.lora_config(RECIPE.lora))
    set_peft_model_state_dict(wrapped, sheet.copies(1))
    half = len(kl) // 2
    assert kl[:half].abs().max() < 1e-6
    torch.testing.assert_close(kl[half:].mean(), kl_by_peft(wrapped, model, OTHERS[1]))
    torch.testing.assert_close(norms, torch.stack([torch.zeros(()), dense(wrapped)]))


def test_the_gradient_of_the_norm_is_that_of_the_dense_product() -> None:
    draw = torch.Generator().manual_seed(0)
    shapes, scalings = [(4, 12, 8), (4, 6, 10)], [[2.0, 0.5, 0.0], [1.0, 3.0, 0.25]]
    pairs = [
        (
            torch.randn(3, rank, fan_in, generator=draw).requires_grad_(),
            torch.randn(3, fan_out, rank, generator=draw).requires_grad_(),
        )
        for rank, fan_in, fan_out in shapes
    ]
    counts, leaves = torch.tensor([1.0, -2.0, 0.5]), [factor for pair in pairs for factor in pair]
    by_hand = [
        (torch.tensor(scale)[:, None, None] * (b @ a)).square().sum((1, 2))
        for (a, b), scale in zip(pairs, scalings, strict=True)
    ]
    norms = squared_norms(pairs, scalings)
    torch.testing.assert_close(norms, torch.stack(by_hand).sum(0))
    expected = torch.autograd.grad((torch.stack(by_hand).sum(0) * counts).sum(), leaves)
    for actual, wanted in zip(torch.autograd.grad((norms * counts).sum(), leaves), expected, strict=True):
        torch.testing.assert_close(actual, wanted)


def test_prompts_are_drawn_by_seed_and_step_from_all_cells_alike() -> None:
    few, many = OTHERS[0][:1], OTHERS[1]
    found = drawn((few, many), 2, 7, 400)
    assert drawn((few, many), 2, 7, 3) == found[:6] != drawn((few, many), 2, 8, 3)
    assert set(found) == {*few, *many}
    assert abs(sum(one in few for one in found) - 400) < 3 * (800 * 0.25) ** 0.5
