"""Learning rates of a whole training, as transformers' `get_scheduler` defines them."""

from __future__ import annotations

import math

import torch
from transformers import get_scheduler

from study.config import Recipe

_NAMES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def learning_rates(recipe: Recipe, steps: int) -> list[float]:
    """The rate of each optimiser step; warm-up takes `ceil(warmup_ratio * steps)`, as in transformers' Trainer."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.learning_rate)
    scheduler = get_scheduler(_NAMES[recipe.schedule], optimizer, math.ceil(steps * recipe.warmup_ratio), steps)
    rates = []
    for _ in range(steps):
        rates.append(float(scheduler.get_last_lr()[0]))
        optimizer.step()
        scheduler.step()
    return rates
