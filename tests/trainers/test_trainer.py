"""Training for real on a tiny model: reproducible, equal to plain PEFT, and the same however it is run."""

from __future__ import annotations

import gc
import math
import shutil
from pathlib import Path
from typing import Any

import deepspeed
import pytest
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load, load_file, save_file
from transformers import AutoModelForCausalLM

from adapters.kinds import lora_weights as lora
from study.config import Lora, ModelConfig, Recipe, Validation
from study.data.example import Example
from study.data.held_out import split
from study.errors import ConfigError
from study.models.resolve import Model, resolve
from tests.support.training import (
    RECIPE,
    Weights,
    answer_loss,
    assert_close,
    job,
    told,
    train,
    training,
    weights,
    with_adapter,
)
from trainers.data import steps
from trainers.engine import GangModel
from trainers.job import Job, Rejected, Setup, Trained
from trainers.learning_rates import learning_rates
from trainers.worker import Worker


def file_bytes(trained: Trained) -> bytes:
    return (trained.folder / "adapter_model.safetensors").read_bytes()


def test_the_same_job_gives_the_same_bytes(worker: Worker, model: Model, tmp_path: Path) -> None:
    """Also in a warm worker, after other jobs, and with dropout."""
    recipe = RECIPE.model_copy(update={"lora": Lora(r=4, alpha=8, dropout=0.1)})
    first = file_bytes(train(worker, model, tmp_path / "1", job(), recipe))
    other = file_bytes(train(worker, model, tmp_path / "2", job("b", seed=8), recipe))
    train(worker, model, tmp_path / "3", job(), RECIPE.model_copy(update={"batch_size": 3}))
    again = train(worker, model, tmp_path / "4", job(), recipe)
    assert file_bytes(again) == first
    assert other != first
    [fresh] = Worker.train(fresh_worker(worker), Setup(model, recipe, training()), [job()], tmp_path / "5")
    assert file_bytes(fresh) == first


def fresh_worker(worker: Worker) -> Worker:
    """A worker with nothing loaded; a process has one process group, so it shares that."""
    fresh = Worker(0, 1)
    fresh.world = worker.world
    return fresh


def plain_peft(model: Model, one: Job, recipe: Recipe) -> Weights:
    """The same training as a loop over transformers and PEFT: one example at a time, no engine, no padding."""
    base = AutoModelForCausalLM.from_pretrained(model.path)
    peft_model: Any = get_peft_model(
        base,
        LoraConfig(
            r=recipe.lora.r,
            lora_alpha=recipe.lora.alpha,
            use_rslora=recipe.lora.rslora,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    names = {n.replace(".default.", "."): p for n, p in peft_model.named_parameters() if p.requires_grad}
    fresh = {n: lora.initial_weight(one.adapter_id, one.seed, n, tuple(p.shape)) for n, p in names.items()}
    set_peft_model_state_dict(peft_model, load(one.start) if one.start else fresh)
    optimizer = torch.optim.AdamW(names.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    learn, _ = split(len(one.examples), recipe.validation)
    plan = [step for epoch in range(recipe.epochs) for step in steps(learn, recipe.batch_size, one.seed, epoch)]
    plan = plan[: recipe.max_steps]
    for step, rate in zip(plan, learning_rates(recipe, len(plan)), strict=True):
        optimizer.param_groups[0]["lr"] = rate
        answer_loss(peft_model, model, [one.examples[i] for i in step]).backward()
        if recipe.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(names.values(), recipe.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    return {name: parameter.detach() for name, parameter in names.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"max_grad_norm": None, "schedule": "cosine"},
        {"max_grad_norm": 0.05, "weight_decay": 0.1, "schedule": "constant"},
        {"lora": Lora(r=8, alpha=8, rslora=True)},
        {"max_steps": 7},
    ],
)
def test_equals_plain_peft(worker: Worker, model: Model, tmp_path: Path, changes: dict[str, Any]) -> None:
    recipe = RECIPE.model_copy(update={"validation": Validation(fraction=0.2, keep="last"), **changes})
    trained = train(worker, model, tmp_path, job(), recipe)
    assert_close(weights(trained), plain_peft(model, job(), recipe))
    if recipe.max_steps is not None:
        assert (trained.course.steps, len(trained.course.epochs)) == (7, 2)


def test_the_best_epoch_is_kept_and_loads_as_it_was_trained(worker: Worker, model: Model, tmp_path: Path) -> None:
    """The reloaded adapter has the validation loss that was recorded, by transformers' own masked loss."""
    recipe = RECIPE.model_copy(update={"epochs": 9, "learning_rate": 0.1, "schedule": "constant"})
    one = job()
    trained = train(worker, model, tmp_path, one, recipe)
    losses = [epoch["validation_loss"] for epoch in told(trained)["epochs"]]
    best = told(trained)["best_epoch"]
    assert losses[best - 1] == min(losses)
    assert best < len(losses), "the recipe should overfit, or this proves nothing"
    _, held_out = split(len(one.examples), recipe.validation)
    with torch.no_grad():
        loss = answer_loss(with_adapter(model, trained.folder), model, [one.examples[i] for i in held_out])
    assert loss.item() == pytest.approx(min(losses), rel=1e-5)


def test_the_loss_goes_down_and_the_record_says_how(worker: Worker, model: Model, tmp_path: Path) -> None:
    trained = train(worker, model, tmp_path, job())
    record = told(trained)
    first, *_, last = record["epochs"]
    assert last["train_loss"] < first["train_loss"] - 0.1
    assert record["examples"] == {"train": 20, "validation": 4}
    assert record["steps"] == 15
    assert record["tokens"]["useful"] <= record["tokens"]["padded"] < 2 * record["tokens"]["useful"]
    assert (record["world_size"], record["zero_stage"], record["dtype"]) == (1, 2, "float32")


def test_without_validation_the_last_epoch_is_kept(worker: Worker, model: Model, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"validation": Validation(fraction=0.0)})
    record = told(train(worker, model, tmp_path, job(count=4), recipe))
    assert record["best_epoch"] == 3
    assert "too few" in record["kept"]
    assert record["epochs"][0]["validation_loss"] is None


def test_loss_on_all_counts_the_prompt(worker: Worker, model: Model, tmp_path: Path) -> None:
    """An untouched adapter's first loss is the base's own, over all tokens but the first."""
    recipe = RECIPE.model_copy(update={"loss_on": "all", "learning_rate": 1e-12, "epochs": 1})
    one = Job("a", 1, (Example("Question: one two", " three"),) * 4)
    trained = train(worker, model, tmp_path, one, recipe)
    base = AutoModelForCausalLM.from_pretrained(model.path)
    tokens = torch.tensor([list(worker.base.rows(one.examples, 64, "all")[0].tokens)])
    expected = base(input_ids=tokens, labels=tokens).loss.item()
    assert told(trained)["epochs"][0]["train_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_zero_stages_give_the_same_adapter(worker: Worker, model: Model, tmp_path: Path, stage: int) -> None:
    expected = train(worker, model, tmp_path / "2", job())
    actual = train(worker, model, tmp_path / "stage", job(), how=training(stage))
    assert_close(weights(actual), weights(expected))
    for mine, theirs in zip(told(actual)["epochs"], told(expected)["epochs"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize(
    "zero",
    [
        {"stage": 2, "offload_optimizer": {"device": "cpu"}},
        {"stage": 2, "cpu_offload": True},
        {"stage": 3, "offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}},
    ],
)
def test_offloading_gives_the_same_adapter(worker: Worker, model: Model, tmp_path: Path, zero: dict[str, Any]) -> None:
    expected = train(worker, model, tmp_path / "2", job())
    how = training().model_copy(update={"deepspeed": {"zero_optimization": zero}})
    worker.base = None  # what is to be offloaded is decided when the base is loaded
    assert_close(weights(train(worker, model, tmp_path / "offloaded", job(), how=how)), weights(expected))
    spread = [hasattr(parameter, "ds_id") for parameter in worker.base.module.parameters()]
    assert all(spread) if zero["stage"] == 3 else not any(spread)
    worker.base = None


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_micro_batches_change_nothing(worker: Worker, model: Model, tmp_path: Path, stage: int) -> None:
    expected = train(worker, model, tmp_path / "whole", job())
    actual = train(worker, model, tmp_path / "cut", job(), how=training(stage, micro_batch_size=3))
    assert_close(weights(actual), weights(expected))


def test_a_member_that_fails_leaves_the_others_alone(
    worker: Worker, tiny_model_dir: Path, model: Model, tmp_path: Path
) -> None:
    """One member meets a token whose embedding is NaN, one has an empty answer; what is beside them is as if alone."""
    folder = tmp_path / "poisoned"
    shutil.copytree(tiny_model_dir, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"][1] = math.nan  # </s>, which no other text holds
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    poisoned = resolve(ModelConfig(id=str(folder)), "float32", "models[0]")
    nan = Job("nan", 1, (Example("</s>one two", " three"),) * 8)
    bad = Job("bad", 1, (Example("one two", " three"), Example("one", "")))
    results = worker.train(Setup(poisoned, RECIPE, training()), [job("a"), nan, bad, job("b")], tmp_path / "gang")
    assert [type(result) for result in results] == [Trained, Rejected, Rejected, Trained]
    assert [result.adapter_id for result in results] == ["a", "nan", "bad", "b"]
    assert [result.kind for result in results if isinstance(result, Rejected)] == ["nan", "bad_data"]
    assert not (tmp_path / "gang" / "nan").exists()
    alone = train(worker, poisoned, tmp_path / "alone", job("b"))
    assert isinstance(results[3], Trained)
    assert_close(weights(results[3]), weights(alone))


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_divergence_is_rejected_and_forgotten(worker: Worker, model: Model, tmp_path: Path, stage: int) -> None:
    recipe = RECIPE.model_copy(update={"learning_rate": 1e30, "max_grad_norm": None})
    before = file_bytes(train(worker, model, tmp_path / "1", job(), how=training(stage)))
    [result] = worker.train(Setup(model, recipe, training(stage)), [job()], tmp_path / "2")
    assert isinstance(result, Rejected)
    assert result.kind == "nan"
    assert file_bytes(train(worker, model, tmp_path / "3", job(), how=training(stage))) == before


def contents(worker: Worker) -> dict[str, torch.Tensor]:
    """The base's parameters, whole, and its buffers, on the CPU."""
    module = worker.base.module
    spread = [parameter for parameter in module.parameters() if hasattr(parameter, "ds_id")]
    with deepspeed.zero.GatheredParameters(spread, enabled=bool(spread)):
        named = [*module.named_parameters(), *module.named_buffers()]
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in named}


@pytest.mark.parametrize(("dtype", "stage"), [("float32", 0), ("float32", 2), ("float32", 3), ("bfloat16", 2)])
def test_the_base_is_bit_identical_after_a_job(
    worker: Worker, model: Model, tiny_model_dir: Path, tmp_path: Path, dtype: str, stage: int
) -> None:
    used = resolve(ModelConfig(id=str(tiny_model_dir)), dtype, "models[0]")
    trained = train(worker, used, tmp_path, job(), how=training(stage))
    plain = AutoModelForCausalLM.from_pretrained(model.path, dtype=getattr(torch, dtype))
    expected = dict([*plain.named_parameters(), *plain.named_buffers()])
    actual = contents(worker)
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype
        assert torch.equal(actual[name], tensor), name
    if dtype == "bfloat16":
        assert all(tensor.dtype == torch.bfloat16 for tensor in weights(trained).values())
        assert told(trained)["epochs"][-1]["train_loss"] < told(trained)["epochs"][0]["train_loss"]


def test_another_model_replaces_the_base(
    worker: Worker, model: Model, tiny_model_no_bos_dir: Path, tmp_path: Path
) -> None:
    other = resolve(ModelConfig(id=str(tiny_model_no_bos_dir)), "float32", "models[1]")
    first = file_bytes(train(worker, model, tmp_path / "1", job()))
    kept = worker.base
    train(worker, model, tmp_path / "2", job("b"))
    assert worker.base is kept
    train(worker, other, tmp_path / "3", job())
    assert worker.base.model == other
    assert file_bytes(train(worker, model, tmp_path / "4", job())) == first


def test_half_precision_is_refused_on_a_cpu(worker: Worker, tiny_model_dir: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("float16 trains on a GPU")
    model = resolve(ModelConfig(id=str(tiny_model_dir)), "float16", "models[0]")
    with pytest.raises(ConfigError, match="bfloat16"):
        worker.train(Setup(model, RECIPE, training()), [job()], tmp_path)


def test_zero_3_leaves_no_model_behind(worker: Worker, model: Model, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 1})
    counts = []
    for _ in range(4):
        train(worker, model, tmp_path, job(count=6), recipe, training(3))
        gc.collect()
        counts.append(sum(isinstance(thing, GangModel) for thing in gc.get_objects()))
    assert counts[1] == counts[-1]  # the first may leave one behind from before: loading freezes what is there
