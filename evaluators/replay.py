"""lm-eval's `hf` model with the answers that a store holds in the place of weights: lm-eval judges them as its own.

What a store does not keep is not made up: whether greedy decoding writes an option shows as None, and a metric of it is
left out of a target (evaluators.logged).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from adapters.base.loading import shell_of
from evaluators.answers import Answer, Answers
from evaluators.items.encoder import Encoder
from study.data.harness import Instance
from study.models.chat import tokenizer_of
from study.models.resolve import Model


class NotKept(int):
    """Whether greedy decoding writes an option, which no store says; to lm-eval's code it is no."""

    def __str__(self) -> str:
        return "None"

    __repr__ = __str__


class Replay(Encoder):
    """Answers of one subject, by the names of lm-eval's tasks."""

    def __init__(self, model: Model) -> None:
        super().__init__(shell_of(model), tokenizer_of(model))
        self.answers: Mapping[str, Answers] = {}

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, int]]:
        return [self._option(instance) for instance in requests]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        return [float(self._of(instance).loglikelihoods[0]) for instance in requests]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        return [str(self._of(instance).generation) for instance in requests]

    def _option(self, instance: Instance) -> tuple[float, int]:
        found = self._of(instance)
        is_text = self.answers[_name(instance)].output_type == "loglikelihood"
        told = found.correct if is_text else found.exact if instance.idx == found.gold else None
        return float(found.loglikelihoods[instance.idx]), NotKept(0) if told is None else bool(told)

    def _of(self, instance: Instance) -> Answer:
        return self.answers[_name(instance)].of(instance)


def _name(instance: Instance) -> str:
    """The task that an instance is of, which lm-eval's own ones say."""
    return cast(str, instance.task_name)  # type: ignore[attr-defined]
