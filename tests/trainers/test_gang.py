"""A member of a gang is trained as if it were alone, and as plain PEFT and transformers' Trainer train it."""

from __future__ import annotations

import math
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from peft import get_peft_model, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from adapters.folders.sites import sites_named
from adapters.folders.targeting import meant
from adapters.kinds import lora_weights as lora
from adapters.kinds.kind import kind_of
from study import pulse
from study.config import Lora, Recipe, Training, Validation
from study.models.resolve import Model
from tests.support.plain_peft import SameDropout
from tests.support.training import RECIPE, Weights, assert_close, job, told, train, training, weights
from trainers.batch import collate
from trainers.job import Job, Rejected, Setup, Trained
from trainers.member import Member
from trainers.optimizer import GangAdamW
from trainers.worker import Worker

LAST = RECIPE.model_copy(update={"validation": Validation(fraction=0.2, keep="last")})
GANG = [job("a"), job("b", seed=8, count=9), job("c", count=24), job("d", count=31)]
DROPPING = {"lora": Lora(r=4, alpha=8, dropout=0.2)}
CASES: list[tuple[dict[str, Any], Training]] = [
    ({}, training(2)),
    ({"max_grad_norm": 0.05, "weight_decay": 0.1}, training(0)),
    ({"max_grad_norm": None, "lora": Lora(r=8, alpha=8, rslora=True)}, training(1)),
    ({"schedule": "cosine"}, training(2, micro_batch_size=3)),
    (DROPPING, training(2)),
    ({**DROPPING, "weight_decay": 0.1}, training(0, micro_batch_size=3)),
    ({"lora": Lora(r=3, alpha=8, modules=("q_proj", "down_proj"))}, training(3)),
]


def train_gang(
    worker: Worker, model: Model, out: Path, gang: Sequence[Job], recipe: Recipe, how: Training
) -> dict[str, Trained | Rejected]:
    return {result.adapter_id: result for result in worker.train(Setup(model, recipe, how), gang, out)}


@pytest.mark.parametrize(("changes", "how"), CASES)
def test_a_gang_equals_its_members_alone(
    worker: Worker, model: Model, tmp_path: Path, changes: dict[str, Any], how: Training
) -> None:
    """Of different sizes, so that they end at different steps; by weights kept, losses and best epoch."""
    recipe = RECIPE.model_copy(update=changes)
    together = train_gang(worker, model, tmp_path / "gang", GANG, recipe, how)
    for one in GANG:
        alone, mine = train(worker, model, tmp_path / "alone", one, recipe, training(2)), together[one.adapter_id]
        assert isinstance(mine, Trained)
        assert_close(weights(mine), weights(alone))
        assert told(mine)["best_epoch"] == told(alone)["best_epoch"]
        for actual, expected in zip(told(mine)["epochs"], told(alone)["epochs"], strict=True):
            assert actual == pytest.approx(expected, rel=1e-4)


def by_transformers(model: Model, one: Job, rows: Any, recipe: Recipe, folder: Path) -> Weights:
    """The same training by transformers' Trainer (and PEFT), from the same start and in the same order."""
    wrapped: Any = AutoModelForCausalLM.from_pretrained(model.path)
    numbers = {site.name: number for number, site in enumerate(sites_named(wrapped, meant(wrapped, "all-linear")))}
    if recipe.lora is not None:
        wrapped = get_peft_model(wrapped, lora.lora_config(recipe.lora))
    names = {n.replace(".default.", "."): p for n, p in wrapped.named_parameters() if p.requires_grad}
    if recipe.lora is not None:
        start = {n: lora.initial_weight(one.adapter_id, one.seed, n, tuple(p.shape)) for n, p in names.items()}
        set_peft_model_state_dict(wrapped, start)
    streams: dict[str, torch.Tensor] = {}
    dropout = kind_of(recipe).dropout
    if dropout:
        for name, module in wrapped.base_model.model.named_modules():
            if name in numbers:
                module.lora_dropout["default"] = SameDropout(dropout, numbers[name], streams)
    member = Member(0, one, rows, recipe)
    steps = [member.rows(step) for step in range(len(member._steps))]

    def padded(gang_rows: Any) -> dict[str, torch.Tensor]:
        batch = collate(gang_rows, 2, 0.0, torch.device("cpu"))
        labels = torch.full_like(batch.input_ids, -100)
        labels.view(-1)[batch.positions + 1] = batch.targets
        keys = torch.tensor([row.stream for row in gang_rows])
        return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "labels": labels, "keys": keys}

    class Ours(Trainer):
        def get_train_dataloader(self) -> Any:
            return [padded(step) for step in steps]

        def training_step(self, module: Any, inputs: Any, *rest: Any) -> Any:
            streams["now"] = inputs.pop("keys")
            return super().training_step(module, inputs, *rest)

    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=len(steps),
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=math.ceil(len(steps) * recipe.warmup_ratio),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm or 0.0,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    Ours(wrapped, arguments, train_dataset=[{}]).train()
    return {name: parameter.detach() for name, parameter in names.items()}


@pytest.mark.parametrize(
    "changes",
    [{}, {"max_grad_norm": 0.05, "weight_decay": 0.1, "schedule": "cosine"}, {"max_grad_norm": None}, DROPPING],
)
def test_a_gang_equals_peft_and_transformers_trainer(
    worker: Worker, model: Model, tmp_path: Path, changes: dict[str, Any]
) -> None:
    recipe = LAST.model_copy(update=changes)
    together = train_gang(worker, model, tmp_path, GANG, recipe, training(2))
    for one in GANG[:2]:
        rows = worker.base.rows(one.examples, recipe.max_length, recipe.loss_on)
        expected = by_transformers(model, one, rows, recipe, tmp_path / "trainer")
        mine = together[one.adapter_id]
        assert isinstance(mine, Trained)
        assert_close(weights(mine), expected)


def test_the_same_gang_gives_the_same_bytes(worker: Worker, model: Model, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update=DROPPING)
    files = []
    for attempt in ("1", "2"):
        results = train_gang(worker, model, tmp_path / attempt, GANG, recipe, training(2))
        files.append([(tmp_path / attempt / name / "adapter_model.safetensors").read_bytes() for name in results])
    assert files[0] == files[1]


def test_who_diverges_goes_alone(worker: Worker, model: Model, tmp_path: Path) -> None:
    """One whose weights overflow in the middle of its training is rejected; the others' are as alone."""
    strong = RECIPE.model_copy(update={"learning_rate": 3e38, "max_grad_norm": None, "warmup_ratio": 0.0})
    results = train_gang(worker, model, tmp_path / "all", GANG, strong, training(2))
    assert all(isinstance(result, Rejected) and result.kind == "nan" for result in results.values())


def test_what_there_is_no_memory_for_leaves_a_worker_that_trains_less(
    worker: Worker, model: Model, tmp_path: Path
) -> None:
    """A limit on the process's address space that one large adapter fits in, and sixteen do not."""
    large = RECIPE.model_copy(update={"lora": Lora(r=2048, alpha=2048), "epochs": 1})
    one, many = job("a", count=6), [job(name, count=6) for name in "abcdefghijklmnop"]
    expected = train(worker, model, tmp_path / "free", one, large)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + (300 << 20), hard))
    try:
        with pytest.raises(torch.OutOfMemoryError):
            worker.train(Setup(model, large, training(2)), many, tmp_path / "many")
        actual = train(worker, model, tmp_path / "limited", one, large)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert_close(weights(actual), weights(expected))


def test_hardly_a_token_is_padding_in_a_gang(worker: Worker, model: Model, tmp_path: Path) -> None:
    gang = [job(f"m{i}") for i in range(16)]
    how = training(2, micro_batch_size=8)
    results = train_gang(worker, model, tmp_path, gang, RECIPE.model_copy(update={"epochs": 1}), how)
    tokens = [told(result)["tokens"] for result in results.values()]
    assert sum(t["useful"] for t in tokens) / sum(t["padded"] for t in tokens) > 0.9


def test_a_gang_says_how_far_it_is_with_each_step(
    worker: Worker, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In adapters, of which the shorter one ends first: the time left of a run goes by it."""
    said = list[pulse.Reached]()
    monkeypatch.setattr("study.pulse._listeners", [lambda stage, reached: said.append(reached) if reached else None])
    gang, one = [job("a", count=6), job("b", count=24)], RECIPE.model_copy(update={"epochs": 1, "batch_size": 2})
    train_gang(worker, model, tmp_path, gang, one, training(2))
    units, seconds = [one.units for one in said], [one.seconds for one in said]
    assert 0 < units[0] < 1
    assert units == sorted(set(units))
    assert units[-1] == 2
    assert seconds == sorted(seconds)


def test_a_sheet_in_parts_is_updated_as_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that own halves of it, padded: cut in the middle of a row; one row is frozen exactly."""
    torch.manual_seed(0)
    start, gradients = torch.randn(5, 7), [torch.randn(5, 7) for _ in range(3)]
    rates: list[float | None] = [0.1, None, 0.3, 0.2, 0.1]

    def take_steps(parameter: torch.nn.Parameter, optimizer: GangAdamW, parts: list[torch.Tensor]) -> torch.Tensor:
        for number, gradient in enumerate(parts, 1):
            optimizer.rates, optimizer.number = rates, number
            optimizer.param_groups[0]["params"], parameter.grad = [parameter], gradient.clone()
            optimizer.step()
        return parameter.detach()

    sheet = torch.nn.Parameter(start.clone())
    whole = take_steps(sheet, GangAdamW([sheet], 0.1, None, 0, 7), gradients)
    halves = []
    for rank in range(2):
        flat = [torch.cat([t.flatten(), torch.zeros(1)])[rank * 18 : (rank + 1) * 18] for t in (start, *gradients)]
        optimizer = GangAdamW([torch.nn.Parameter(start.clone())], 0.1, None, rank, 7)
        halves.append(take_steps(torch.nn.Parameter(flat[0].clone()), optimizer, flat[1:]))
    assert torch.equal(torch.cat(halves)[:35].view(5, 7), whole)
    assert torch.equal(whole[1], start[1])
    one = torch.nn.Parameter(start[2].clone())
    reference = torch.optim.AdamW([one], lr=0.3, weight_decay=0.1)
    for gradient in gradients:
        one.grad = gradient[2]
        reference.step()
    torch.testing.assert_close(whole[2], one.detach())
