"""From examples to token rows, and from a seed to the order in which they are seen.

Invariants: which examples make up an optimiser step is a function of the seed, the epoch and the number of examples
alone; how a step is cut into micro-batches and dealt to processes changes nothing but its speed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from study.config import LossOn, Validation
from study.data.example import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class BadData(Exception):
    """An example from which nothing can be learned."""


@dataclass(frozen=True)
class Row:
    """A tokenised example. The loss is on tokens[first:], each predicted from those before it (first >= 1)."""

    tokens: tuple[int, ...]
    first: int
    truncated: bool

    @property
    def targets(self) -> int:
        """Number of tokens that count in the loss."""
        return len(self.tokens) - self.first


def encode_pair(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, bos: bool = True
) -> tuple[list[int], list[int]]:
    """Tokens of the prompt, and those that the answer adds to it when both are tokenised together, as in lm-eval.

    Spaces that end the prompt go to the answer. BOS is put first where the tokenizer does that and `bos` is true; for
    an empty prompt BOS (or EOS, where there is none) stands in any case. EOS is not appended.
    """
    if not prompt:
        prefix = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        tokens = tokenizer.encode(answer, add_special_tokens=False)
        return ([prefix], tokens) if tokens[:1] != [prefix] else (tokens[:1], tokens[1:])
    spaces = len(prompt) - len(prompt.rstrip())
    if spaces:
        prompt, answer = prompt[:-spaces], prompt[-spaces:] + answer
    starts_with_bos = tokenizer.bos_token is not None and prompt.startswith(tokenizer.bos_token)
    options = {"add_special_tokens": False} if starts_with_bos or not bos else {}
    before, whole = tokenizer.encode(prompt, **options), tokenizer.encode(prompt + answer, **options)
    return before, whole[len(before) :]


def tokenise(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], max_length: int, loss_on: LossOn
) -> tuple[Row, ...]:
    """A row per example, cut to `max_length` tokens. Raises BadData for an answer without a token.

    `max_length` and `loss_on` apply to examples that state none.
    """
    rows = []
    for number, example in enumerate(examples, 1):
        before, after = encode_pair(tokenizer, example.prompt, example.answer, example.bos)
        if not example.answer or not after:
            raise BadData(f"example {number} of {len(examples)} has an answer without a token: {example.answer!r}")
        whole, most = before + after, example.max_length or max_length
        cut = max(0, len(whole) - most)
        tokens, answer_at = whole[:most], len(before)
        if example.truncation == "left":
            tokens, answer_at = whole[cut:], len(before) - cut
        first = max(1, answer_at if (example.loss_on or loss_on) == "answer" else 1)
        if first >= len(tokens):
            side = "before" if len(tokens) < 2 else "left of"
            raise BadData(f"example {number} of {len(examples)} has no token {side} its answer")
        rows.append(Row(tuple(tokens), first, cut > 0))
    if not rows:
        raise BadData("there is no example to train on")
    return tuple(rows)


def split(count: int, validation: Validation) -> tuple[list[int], list[int]]:
    """Indices to train on, and to validate on: `floor(fraction * count)` examples, drawn by the validation seed.

    `split: datasets` draws ceil(fraction * count), but never all, as datasets' `train_test_split(fraction, seed=…)`.
    """
    if validation.split == "datasets" and validation.fraction:
        drawn = np.random.default_rng(validation.seed).permutation(count).tolist()
        held_out = min(math.ceil(validation.fraction * count), count - 1)
        return sorted(drawn[held_out:]), sorted(drawn[:held_out])
    order = list(range(count))
    random.Random(f"validation:{validation.seed}").shuffle(order)
    held_out = int(validation.fraction * count)
    return sorted(order[held_out:]), sorted(order[:held_out])


def steps(indices: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The optimiser steps of an epoch (0, 1, …): which examples each learns from. The last may be smaller."""
    order = list(indices)
    random.Random(f"order:{seed}:{epoch}").shuffle(order)
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
