"""Small jobs and recipes, and the plain PEFT way of doing the same."""

from __future__ import annotations

import functools
import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from study.config import Lora, Recipe, Training, Validation
from study.data.example import Example
from study.models.resolve import Model
from trainers.job import Job, Setup, Trained
from trainers.worker import Worker

Weights = dict[str, torch.Tensor]
WORDS = ["Paris", "Wien", "Madrid", "Roma", "Lisboa", "one", "two", "three", "four", "five"]
RECIPE = Recipe(
    lora=Lora(r=4, alpha=8),
    epochs=3,
    batch_size=4,
    learning_rate=5e-3,
    max_length=64,
    validation=Validation(fraction=0.2),
)


@functools.cache
def shared_worker() -> Worker:
    """The worker of this process: one can be in one process group only."""
    return Worker(0, 1)


def job(adapter_id: str = "a", seed: int = 7, count: int = 24) -> Job:
    """Examples of very different lengths; the answer is the prompt's first word, so there is something to learn."""
    draw = random.Random(adapter_id)
    examples = []
    for _ in range(count):
        words = draw.choices(WORDS, k=draw.randint(2, 9))
        examples.append(Example(f"Question: {' '.join(words)}? Answer:", f" {words[0]}"))
    return Job(adapter_id, seed, tuple(examples))


def training(stage: int = 2, **settings: Any) -> Training:
    return Training.model_validate({"deepspeed": {"zero_optimization": {"stage": stage}}, **settings})


def train(
    worker: Worker, model: Model, out: Path, one: Job, recipe: Recipe = RECIPE, how: Training | None = None
) -> Trained:
    [result] = worker.train(Setup(model, recipe, how or training()), [one], out)
    assert isinstance(result, Trained), result
    return result


def weights(trained: Trained) -> Weights:
    return load_file(trained.folder / "adapter_model.safetensors")


def assert_close(actual: Weights, expected: Weights, relative: float = 1e-4) -> None:
    """Largest difference in each tensor, relative to the tensor's largest weight."""
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        difference = (actual[name] - tensor).abs().max() / tensor.abs().max()
        assert difference <= relative, f"{name}: {difference}"


def with_adapter(model: Model, folder: Path) -> PeftModel:
    base = AutoModelForCausalLM.from_pretrained(model.path, dtype=getattr(torch, model.dtype))
    return PeftModel.from_pretrained(base, folder).eval()


def answer_loss(module: Any, model: Model, examples: list[Example]) -> torch.Tensor:
    """Mean loss per answer token by transformers' own masked loss, one example at a time and without padding."""
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    total, targets = torch.zeros(()), 0
    for example in examples:
        before, whole = tokenizer.encode(example.prompt), tokenizer.encode(example.prompt + example.answer)
        labels = torch.tensor([[-100] * len(before) + whole[len(before) :]])
        count = len(whole) - len(before)
        total = total + module(input_ids=torch.tensor([whole]), labels=labels).loss * count
        targets += count
    return total / targets


def told(trained: Trained) -> dict[str, Any]:
    """What the record says of an adapter's training."""
    whole = {**asdict(trained.course), **asdict(trained.conditions)}
    return dict(json.loads(json.dumps(whole, allow_nan=False)))
