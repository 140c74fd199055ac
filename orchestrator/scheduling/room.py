"""How many adapters a process of training has room for: pure functions of what it may hold.

`bench.memory` measures what is counted on here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.kinds.held import PER_NUMBER, PER_NUMBER_OF_HALF, Held
from orchestrator.scheduling.decide import Resources, fits
from study.config import Recipe, Training
from study.config.fields import share_of_gpu
from study.data.example import Example
from study.models.resolve import Model
from trainers.settings import device_of, pass_tokens

UNKNOWN = {"cpu": 4 << 30, "cuda": 24 << 30}  # bytes of a process where nothing says how many there are
USED = 0.9  # of them by tensors: libraries, and what lies empty between tensors, take the rest
PER_WEIGHT, PER_WEIGHT_OF_HALF = 16, 14  # bytes of an adapter's: itself, gradient, moments, in float32; and a copy
PER_LOGIT = 12  # in float32: itself, its logarithm and its gradient


@dataclass(frozen=True)
class Tokens:
    """So many tokens, and which share of them is learned."""

    count: float
    learned: float


def memory(training: Training, nodes: Sequence[Resources], gpu: int | None) -> int:
    """Bytes that tensors of a process of training may take: its part of the smallest node that has place for it.

    `gpu` are those of a GPU, of the smallest that there is.
    """
    wanted = training.resources_per_worker
    if device_of(training) == "cuda":
        return int((gpu or UNKNOWN["cuda"]) * share_of_gpu(wanted) * USED)
    if "memory" in wanted:
        return int(wanted["memory"] * USED)
    parts = [node["memory"] * wanted.get("CPU", 1.0) / node["CPU"] for node in nodes if _tells(node, wanted)]
    return int((int(min(parts)) >> 30 << 30 if parts else UNKNOWN["cpu"]) * USED)  # what is there changes by the hour


def room(training: Training, model: Model, held: Held, memory: int, step: Tokens) -> int:
    """The most adapters that fit beside the base, at least one; `step` is what one has in a step of a process.

    A step of all is one pass, or several of the most tokens that one may have.
    """
    whole = model.dtype == "float32"
    each = held.weights * (PER_WEIGHT if whole else PER_WEIGHT_OF_HALF)
    numbers, width = held.numbers, model.body.width
    if training.gradient_checkpointing and model.layers:  # of each layer its input; all of one, and what flows back
        numbers = round(1.5 * numbers / model.layers) + model.layers * width
    token = numbers * (PER_NUMBER if whole else PER_NUMBER_OF_HALF)
    token += step.learned * model.body.vocabulary * PER_LOGIT
    left, most = memory - model.bytes, pass_tokens(training, device_of(training))
    in_one = left / max(1.0, each + step.count * token)
    in_several = (left - most * token) / max(1, each)
    return max(1, int(max(in_one, in_several)))


def learned(examples: Sequence[Example], recipe: Recipe) -> float:
    """Which share of what is read is learned, by characters; all, where what a prompt says is held near the base."""
    if recipe.keep_near_base.kl:
        return 1.0
    answers = sum(len(one.answer) for one in examples)
    prompts = sum(len(one.prompt) for one in examples if (one.loss_on or recipe.loss_on) == "answer")
    return answers / max(1, answers + prompts)


def _tells(node: Mapping[str, float], wanted: Resources) -> bool:
    return fits(node, {}, wanted) > 0 and "memory" in node and node.get("CPU", 0.0) > 0
