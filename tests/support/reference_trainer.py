"""Training as the published study's code does it: transformers' Trainer on PEFT, by its TrainingArguments.

What is ours here, so that the two can be compared step by step: float32 on the CPU, the start weights, and the order in
which rows are seen (the study takes both from torch's global generator).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from torch.utils.data import Sampler
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from adapters.kinds import lora_weights as lora
from study.config import Lora, Recipe
from study.models.resolve import Model
from tests.support.released import Released
from tests.support.training import assert_close, told, train, weights
from trainers.data import steps
from trainers.engine import Engine
from trainers.job import Job, Trained
from trainers.worker import Worker


@dataclass(frozen=True)
class ByTrainer:
    """The loss of every step, the loss of each epoch's validation, which epoch was the best, and its weights."""

    losses: list[float]
    validation: list[float]
    best_epoch: int
    steps: int
    weights: dict[str, torch.Tensor]
    model: Any


@dataclass(frozen=True)
class Both:
    ours: Trained
    theirs: ByTrainer


class _Order(Sampler[int]):
    """Rows in the order of our epochs. A row's number is its example's in the source."""

    def __init__(self, numbers: Sequence[int], seed: int, batch: int) -> None:
        self._at = {number: place for place, number in enumerate(numbers)}
        self._seed, self._batch, self._epoch = seed, batch, 0

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[int]:
        epoch = steps(sorted(self._at), self._batch, self._seed, self._epoch)
        self._epoch += 1
        return iter([self._at[number] for step in epoch for number in step])


class _Recorded(Trainer):
    def __init__(self, *args: Any, order: _Order, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._order, self.losses = order, list[float]()

    def _get_train_sampler(self, train_dataset: Any = None) -> _Order:
        return self._order

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        found = super().compute_loss(model, inputs, *args, **kwargs)
        if model.training:
            self.losses.append(float(found.detach()))
        return found


def by_trainer(base: Path, made: Sequence[Released], one: Job, recipe: Recipe, out: Path) -> ByTrainer:
    data = Dataset.from_list(
        [
            {"input_ids": r.input_ids, "attention_mask": r.attention_mask, "labels": r.labels, "number": number}
            for number, r in enumerate(made)
        ]
    ).train_test_split(0.1, seed=42)
    numbers = data["train"]["number"]
    parts = {name: part.remove_columns("number") for name, part in data.items()}
    model, names = _adapter(base, one, recipe.lora or Lora())
    trainer = _Recorded(
        model=model,
        args=_arguments(out, recipe, one.seed),
        train_dataset=parts["train"],
        eval_dataset=parts["test"],
        order=_Order(numbers, one.seed, 8),
    )
    trainer.train()
    best = int(str(trainer.state.best_model_checkpoint).rpartition("-")[2])
    return ByTrainer(
        trainer.losses,
        [log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log],
        round(best / trainer.state.max_steps * recipe.epochs),
        trainer.state.max_steps,
        {name: parameter.detach().clone() for name, parameter in names.items()},
        model,
    )


def _adapter(base: Path, one: Job, how: Lora) -> tuple[Any, dict[str, torch.Tensor]]:
    model: Any = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        LoraConfig(r=how.r, lora_alpha=how.alpha, target_modules=list(how.modules), task_type="CAUSAL_LM"),
    )
    names = {n.replace(".default.", "."): p for n, p in model.named_parameters() if p.requires_grad}
    start = {n: lora.initial_weight(one.adapter_id, one.seed, n, tuple(p.shape)) for n, p in names.items()}
    set_peft_model_state_dict(model, start)
    return model, names


def _arguments(out: Path, recipe: Recipe, seed: int) -> TrainingArguments:
    """The released ones; what is left out is at transformers' default, as it is there."""
    return TrainingArguments(
        output_dir=str(out),
        num_train_epochs=3,
        learning_rate=recipe.learning_rate,
        warmup_steps=0.1,  # which older releases call warmup_ratio
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=3,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        seed=seed,
        data_seed=seed,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )


def assert_same_training(
    worker: Worker, model: Model, one: Job, made: Sequence[Released], recipe: Recipe, out: Path
) -> Both:
    """Held-out rows, the loss of every step, the losses of epochs, the epoch that is kept, and its weights."""
    both = by_both(worker, model, one, made, recipe, out)
    assert_close(weights(both.ours), both.theirs.weights)
    return both


def by_both(worker: Worker, model: Model, one: Job, made: Sequence[Released], recipe: Recipe, out: Path) -> Both:
    """The same, but for weights, which are not compared."""
    with recorded_steps() as mine:
        trained = train(worker, model, out / "mine", one, recipe)
    theirs = by_trainer(Path(model.path), made, one, recipe, out / "theirs")
    assert mine == pytest.approx(theirs.losses, abs=1e-5)
    assert len(mine) == theirs.steps
    epochs = told(trained)["epochs"]
    assert [epoch["validation_loss"] for epoch in epochs] == pytest.approx(theirs.validation, abs=1e-5)
    assert told(trained)["best_epoch"] == theirs.best_epoch
    assert told(trained)["examples"]["validation"] == math.ceil(len(made) / 10)
    return Both(trained, theirs)


@contextmanager
def recorded_steps() -> Iterator[list[float]]:
    """Within, the loss of each of our optimiser steps."""
    taken, parts = list[float](), list[float]()
    backward, step = Engine.backward, Engine.step

    def add(self: Engine, loss: torch.Tensor) -> None:
        parts.append(float(loss.detach()))
        backward(self, loss)

    def end(self: Engine, *args: Any) -> None:
        taken.append(sum(parts))
        parts.clear()
        step(self, *args)

    with mock.patch.object(Engine, "backward", add), mock.patch.object(Engine, "step", end):
        yield taken
