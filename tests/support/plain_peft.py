"""The same training as a member's by PEFT's own modules, torch's AdamW and nothing else, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import get_scheduler

from adapters.bank.dropout import Dropout
from study.config import Recipe
from trainers.batch import collate
from trainers.data import Row
from trainers.job import Job
from trainers.member import Member

CPU = torch.device("cpu")
Optimizer = Callable[[Any], torch.optim.Optimizer]


class SameDropout(torch.nn.Module):
    """Stands in for PEFT's dropout: the masks of our streams."""

    def __init__(self, p: float, module: int, streams: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self._p, self._module, self._streams = p, module, streams

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Dropout(self._p, self._streams["now"])(x, self._module)


@dataclass(frozen=True)
class Learned:
    """Losses per target of each epoch, in nats: PEFT's model itself was trained."""

    losses: tuple[float, ...]


def learn(wrapped: Any, one: Job, rows: tuple[Row, ...], recipe: Recipe, optimizer: Optimizer) -> Learned:
    """Train PEFT's model as the member of a job is: its rows in its order, its schedule, clipping and dropout."""
    member = Member(0, one, rows, recipe)
    streams: dict[str, torch.Tensor] = {}
    if recipe.lora is not None and recipe.lora.dropout:
        adapted = [module for module in wrapped.modules() if hasattr(module, "lora_dropout")]
        for number, module in enumerate(adapted):
            module.lora_dropout["default"] = SameDropout(recipe.lora.dropout, number, streams)
    trained = [weight for weight in wrapped.parameters() if weight.requires_grad]
    steps = optimizer(wrapped)
    count = len(member._steps)
    schedule = get_scheduler(recipe.schedule, steps, math.ceil(count * recipe.warmup_ratio), count)
    losses: list[float] = []
    total, targets = 0.0, 0
    for step in range(count):
        gang_rows = member.rows(step)
        streams["now"] = torch.tensor([row.stream for row in gang_rows])
        batch = collate(gang_rows, 2, 0.0, CPU)
        logits = wrapped(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        logits = logits[:, -batch.input_ids.shape[1] :]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1)[batch.positions], batch.targets)
        loss.backward()
        if recipe.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(trained, recipe.max_grad_norm)
        steps.step()
        schedule.step()
        steps.zero_grad()
        total, targets = total + float(loss) * len(batch.targets), targets + len(batch.targets)
        if member.ends_epoch(step):
            losses.append(total / targets)
            total, targets = 0.0, 0
    return Learned(tuple(losses))
