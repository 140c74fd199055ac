"""From examples to token rows, and from a seed to the order in which they are seen.

Invariants: which examples make up an optimiser step is a function of the seed, the epoch and the number of examples
alone; how a step is cut into micro-batches and dealt to processes changes nothing but its speed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from study.config import LossOn, Truncation
from study.data.example import Example
from trainers.chat import BadChat, conversation, shared
from trainers.texts import BadText, beginning, chunks, cut, ending

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class BadData(Exception):
    """An example from which nothing can be learned."""


@dataclass(frozen=True)
class Row:
    """A tokenised example. The loss is on tokens[first:], each predicted from those before it (first >= 1).

    Where a row is of a conversation, it is on the tokens at `learned` alone, in order. `prefix` marks a chunk of which
    `first` is drawn (`with_cuts`). `example` is the number of the example that it was made from (0, 1, …).
    """

    tokens: tuple[int, ...]
    first: int
    truncated: bool
    learned: tuple[int, ...] | None = None
    prefix: bool = False
    example: int = field(default=0, compare=False)

    @property
    def targets(self) -> int:
        """Number of tokens that count in the loss."""
        return len(self.tokens) - self.first if self.learned is None else len(self.learned)

    @property
    def places(self) -> Sequence[int]:
        """Where these tokens are."""
        return range(self.first, len(self.tokens)) if self.learned is None else self.learned


def encode_pair(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, bos: bool = True
) -> tuple[list[int], list[int]]:
    """Tokens of the prompt, and those that the answer adds to it when both are tokenised together, as in lm-eval.

    Spaces that end the prompt go to the answer. BOS is put first where the tokenizer does that and `bos` is true; for
    an empty prompt BOS (or EOS, where there is none) stands in any case. EOS is not appended. Raises BadText.
    """
    if not prompt:
        prefix = beginning(tokenizer)
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
    """A row per example, cut to `max_length` tokens; of a raw text one per chunk. Raises BadData.

    `max_length` and `loss_on` apply to examples that state none.
    """
    rows: list[Row] = []
    for number, example in enumerate(examples, 1):
        done = len(rows)
        most, on = example.max_length or max_length, example.loss_on or loss_on
        try:
            if example.format == "text":
                pieces = chunks(tokenizer, example.answer, most, example.append_eos)
                rows += [Row(tuple(piece), 1, False, prefix=example.objective == "prefix") for piece in pieces]
            elif example.format == "messages":
                rows.append(_of_chat(conversation(tokenizer, example.answer, on), most, example.truncation))
            else:
                rows.append(_of_pair(_pair(tokenizer, example), most, example.truncation, on))
        except (BadData, BadChat, BadText) as error:
            raise BadData(f"example {number} of {len(examples)} {_about(example)}{error}") from error
        rows[done:] = [replace(row, example=number - 1) for row in rows[done:]]
    if not rows:
        raise BadData("there is no example to train on")
    return tuple(rows)


def with_cuts(rows: Sequence[Row], seed: int) -> list[Row]:
    """Rows as an adapter of this seed learns them: a chunk with a prefix from its cut on, which its number draws."""
    return [
        replace(row, first=cut(len(row.tokens), seed, number)) if row.prefix else row for number, row in enumerate(rows)
    ]


def prompt_row(tokenizer: PreTrainedTokenizerBase, example: Example, max_length: int) -> Row:
    """A pair's prompt alone, cut as the pair would be; all of its tokens are places to predict from. Raises BadData."""
    before, most = _pair(tokenizer, example)[0], example.max_length or max_length
    tokens = before[:most] if example.truncation == "right" else before[-most:]
    if not tokens:
        raise BadData(f"a prompt without a token: {example.prompt!r}")
    return Row(tuple(tokens), 1, len(before) > most, tuple(range(1, len(tokens) + 1)))


def _about(example: Example) -> str:
    return "" if example.format is None else f"({example.format}): "


def _pair(tokenizer: PreTrainedTokenizerBase, example: Example) -> tuple[list[int], list[int]]:
    """Tokens of the prompt and of the answer; a completion begins where the prompt alone goes on otherwise, as in TRL.

    Where it is to end with EOS it ends so once, though its template has written EOS already.
    """
    last = ending(tokenizer) if example.append_eos else None
    if example.format is None:
        before, after = encode_pair(tokenizer, example.prompt, example.answer, example.bos)
        if not example.answer or not after:
            raise BadData(f"has an answer without a token: {example.answer!r}")
        return before, after if last in (None, after[-1]) else [*after, last]
    eos = "" if last is None else str(tokenizer.eos_token)
    answer = example.answer if example.answer.endswith(eos) else f"{example.answer}{eos}"
    before, whole = (
        tokenizer.encode(text, add_special_tokens=example.bos) for text in (example.prompt, example.prompt + answer)
    )
    border = shared(before, whole)
    return whole[:border], whole[border:]


def _of_pair(pair: tuple[list[int], list[int]], most: int, side: Truncation, loss_on: LossOn) -> Row:
    before, after = pair
    whole = before + after
    over = max(0, len(whole) - most)
    tokens, answer_at = whole[:most], len(before)
    if side == "left":
        tokens, answer_at = whole[over:], len(before) - over
    first = max(1, answer_at if loss_on == "answer" else 1)
    if first >= len(tokens):
        raise BadData(f"has no token {'before' if len(tokens) < 2 else 'left of'} its answer")
    return Row(tuple(tokens), first, over > 0)


def _of_chat(encoded: tuple[list[int], list[bool]], most: int, side: Truncation) -> Row:
    whole, said = encoded
    over = max(0, len(whole) - most)
    kept = slice(over, None) if side == "left" else slice(most)
    tokens, mask = whole[kept], said[kept]
    learned = tuple(place for place in range(1, len(tokens)) if mask[place])
    if not learned:
        raise BadData(f"no token of the assistant's is left of {len(whole)}, cut to {most}")
    return Row(tuple(tokens), learned[0], over > 0, learned)


def steps(indices: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The optimiser steps of an epoch (0, 1, …): which examples each learns from. The last may be smaller."""
    order = list(indices)
    random.Random(f"order:{seed}:{epoch}").shuffle(order)
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
