"""A long text as chunks that the model can read: all of it is learned, and no text is joined to another.

Each chunk begins with BOS (or EOS, where there is none), and the text's last one ends with EOS. Only what is left over
after the last whole chunk goes, where it is too short to learn from. With the objective `prefix` a chunk is learned
from a cut on, another one in each seed. Attention stays causal: what is before the cut does not read what follows it.
"""

from __future__ import annotations

import random
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST = 8  # tokens of a remainder that is a chunk of its own


class BadText(Exception):
    """What cannot begin or end as it is to, or has no room for a token of its own."""


def beginning(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that stands first where nothing else does: BOS, or EOS where there is none. Raises BadText."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise BadText("is to begin with BOS or EOS, and the model's tokenizer has neither: take a model that has one")


def ending(tokenizer: PreTrainedTokenizerBase) -> int:
    """EOS. Raises BadText."""
    if tokenizer.eos_token_id is None:
        raise BadText("is to end with EOS, and the model's tokenizer has none: set tasks[].train.append_eos: false")
    return int(tokenizer.eos_token_id)


def chunks(tokenizer: PreTrainedTokenizerBase, text: str, most: int, ends: bool) -> list[list[int]]:
    """Cut a text into chunks of at most `most` tokens, special ones included. Raises BadText."""
    first, last = beginning(tokenizer), [ending(tokenizer)] if ends else []
    if most - 1 - len(last) < 1:
        raise BadText(f"has no room in max_length {most} beside {'BOS and EOS' if ends else 'BOS'}: raise it")
    tokens = tokenizer.encode(text, add_special_tokens=False)
    if tokens[:1] == [first]:  # a template of the data has written it
        tokens = tokens[1:]
    if last and tokens[-1:] == last:
        tokens = tokens[:-1]
    ends_at = list(accumulate(pieces(len(tokens), most, ends)))
    found = [tokens[start:end] for start, end in zip([0, *ends_at], ends_at, strict=False)]
    ended = [*found[:-1], [*found[-1], *last]] if found else []
    return [[first, *piece] for piece in ended]


def pieces(count: int, most: int, ends: bool) -> list[int]:
    """How many tokens of a text of so many are in each of its chunks; special ones stand beside them."""
    size = max(1, most - 1 - ends)
    found = [min(size, count - start) for start in range(0, count, size)]
    return found[:-1] if len(found) > 1 and found[-1] < LEAST else found


def cut(count: int, seed: int, number: int) -> int:
    """Where of its `count` tokens the learned part of a chunk begins: in the middle half, drawn by seed and number."""
    return random.Random(f"prefix:{seed}:{number}").randint(-(-count // 4), count * 3 // 4)
