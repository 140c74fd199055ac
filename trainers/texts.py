"""A long text as chunks that the model can read: all of it is learned, and no text is joined to another.

Each chunk begins with BOS (or EOS, where there is none), and the text's last one ends with EOS. Only what is left over
after the last whole chunk goes, where it is too short to learn from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST = 8  # tokens of a remainder that is a chunk of its own


def chunks(tokenizer: PreTrainedTokenizerBase, text: str, most: int, ends: bool) -> list[list[int]]:
    """Cut a text into chunks of at most `most` tokens, special ones included."""
    first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    last = [tokenizer.eos_token_id] if ends and tokenizer.eos_token_id is not None else []
    tokens = tokenizer.encode(text, add_special_tokens=False)
    if tokens[:1] == [first]:  # a template of the data has written it
        tokens = tokens[1:]
    if last and tokens[-1:] == last:
        tokens = tokens[:-1]
    size = max(1, most - 1 - len(last))
    pieces = [tokens[start : start + size] for start in range(0, len(tokens), size)]
    if len(pieces) > 1 and len(pieces[-1]) < LEAST:
        pieces.pop()
    ended = [*pieces[:-1], [*pieces[-1], *last]] if pieces else []
    return [[first, *piece] for piece in ended]
