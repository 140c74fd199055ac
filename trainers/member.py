"""Training one member of a gang: epochs of optimiser steps, validation, and the snapshot that is kept.

The loss of a step is the mean over all target tokens of the step's examples, whatever micro-batch or process they fall
in: each micro-batch contributes its summed loss divided by the step's number of targets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from study.config import Recipe
from study.identity import digest
from trainers.data import Row, deal, split, steps
from trainers.engine import Engine
from trainers.job import Job
from trainers.loss import collate, summed_loss
from trainers.schedule import learning_rates
from trainers.world import World

Weights = dict[str, torch.Tensor]


class Diverged(Exception):
    """A loss, a gradient or a weight is NaN or infinite."""


@dataclass(frozen=True)
class Member:
    """All that decides one member's training. `micro_batch` is rows per process and forward pass."""

    job: Job
    rows: Sequence[Row]
    recipe: Recipe
    micro_batch: int
    padding: int
    keeps_logits: bool


def train_member(engine: Engine, member: Member, world: World) -> tuple[Weights, dict[str, Any]]:
    """Train the engine's adapter; return the weights to keep (on the CPU) and the record.

    Raises Diverged. Every process of the world calls it with the same member.
    """
    started, recipe, job = time.perf_counter(), member.recipe, member.job
    learn, held_out = split(len(member.rows), recipe.validation)
    plan = [steps(learn, recipe.batch_size, job.seed, epoch) for epoch in range(recipe.epochs)]
    rates = learning_rates(recipe, sum(len(epoch) for epoch in plan))
    epochs: list[dict[str, Any]] = []
    kept, best = None, math.inf
    for number, epoch in enumerate(plan, 1):
        done = sum(len(earlier) for earlier in plan[: number - 1])
        train_loss = _epoch(engine, member, epoch, rates[done : done + len(epoch)], done, world)
        validation_loss = _validate(engine, member, held_out, world) if held_out else None
        epochs.append(
            {
                "epoch": number,
                "train_loss": train_loss,
                "validation_loss": validation_loss,
                "learning_rate": rates[done + len(epoch) - 1],
            }
        )
        for name, loss in (("training", train_loss), ("validation", validation_loss)):
            if loss is not None and not math.isfinite(loss):
                raise Diverged(f"{name} loss is {loss} in epoch {number} of {recipe.epochs}")
        better = validation_loss is None or recipe.validation.keep == "last" or validation_loss < best
        if better:
            kept, best = number, validation_loss if validation_loss is not None else best
            weights = engine.weights()
    if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
        raise Diverged(f"a weight is not finite after epoch {kept} of {recipe.epochs}")
    return weights, {
        "adapter_id": job.adapter_id,
        "seed": job.seed,
        "epochs": epochs,
        "best_epoch": kept,
        "kept": recipe.validation.keep if held_out else "last: too few examples, or a fraction of 0, to validate on",
        "steps": len(rates),
        "examples": {"train": len(learn), "validation": len(held_out)},
        "truncated": sum(row.truncated for row in member.rows),
        "tokens": _tokens(member, plan, world.size),
        "micro_batch_size": member.micro_batch,
        "seconds": time.perf_counter() - started,
    }


def _epoch(engine: Engine, member: Member, plan: list[list[int]], rates: list[float], done: int, world: World) -> float:
    """Take an epoch's optimiser steps; return its mean training loss per target, in nats."""
    engine.forward.train()
    total, targets = torch.zeros((), dtype=torch.float64, device=world.device), 0
    for number, (indices, rate) in enumerate(zip(plan, rates, strict=True), done):
        rows = [member.rows[i] for i in indices]
        step_targets = sum(row.targets for row in rows)
        engine.set_learning_rate(rate)
        torch.manual_seed(_dropout_seed(member.job, number, world.rank))
        for micro_batch in deal(rows, member.micro_batch, world.size)[world.rank]:
            batch = collate(micro_batch, member.padding, world.device)
            loss = summed_loss(engine.forward, batch, member.keeps_logits)
            engine.backward(loss / step_targets)
            total += loss.detach()
        if not engine.step():
            raise Diverged(f"the gradient is not finite in step {number + 1}")
        targets += step_targets
    return world.sum(total) / targets


def _validate(engine: Engine, member: Member, indices: list[int], world: World) -> float:
    """Mean loss per target of the held-out examples, in nats."""
    engine.forward.eval()
    rows = [member.rows[i] for i in indices]
    total = torch.zeros((), dtype=torch.float64, device=world.device)
    with torch.no_grad():
        for micro_batch in deal(rows, member.micro_batch, world.size)[world.rank]:
            batch = collate(micro_batch, member.padding, world.device)
            total += summed_loss(engine.forward, batch, member.keeps_logits)
    return world.sum(total) / sum(row.targets for row in rows)


def _dropout_seed(job: Job, step: int, rank: int) -> int:
    return int(digest({"dropout": job.adapter_id, "seed": job.seed, "step": step, "rank": rank}), 16)


def _tokens(member: Member, plan: list[list[list[int]]], world_size: int) -> dict[str, int]:
    """Tokens of all training steps: the examples' own, and those that went through the model with the padding."""
    useful = padded = 0
    for indices in (step for epoch in plan for step in epoch):
        for micro_batches in deal([member.rows[i] for i in indices], member.micro_batch, world_size):
            for rows in micro_batches:
                useful += sum(len(row.tokens) for row in rows)
                padded += len(rows) * max((len(row.tokens) for row in rows), default=0)
    return {"useful": useful, "padded": padded}
