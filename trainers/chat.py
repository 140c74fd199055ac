"""A conversation as tokens, and which of them are learned: by the chat template of the model's own tokenizer.

Tokens and mask are TRL's. What a template marks as the assistant's (`{% generation %}`) is learned; where it marks
nothing, each of the assistant's turns is, from the end of what asks for it to the token that ends it. (TRL takes a
template of its own then, where it has one; its marks may hold a line break beside a turn, too.) A prompt with a
completion is learned from where the prompt alone goes on otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from study.config import LossOn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
_OTHERWISE = (
    "the model's chat template writes the beginning of a conversation otherwise than the whole of it, and marks no "
    "{% generation %}: give the tokenizer a template that does"
)
Turns = Sequence[Mapping[str, object]]
Encoded = tuple[list[int], list[bool]]  # tokens, and which of them the assistant has said


class BadChat(Exception):
    """A conversation that the model's chat template cannot write so that one knows who has said what."""


def conversation(tokenizer: PreTrainedTokenizerBase, told: str, loss_on: LossOn = "answer") -> Encoded:
    """Encode the turns of an example (JSON, `study.data.formats`); who has said what counts not, of loss on all.

    Raises BadChat.
    """
    said = json.loads(told)
    turns, after = said["messages"], said["after"]
    if not tokenizer.chat_template:
        raise BadChat("the model's tokenizer has no chat template: take a model that has one, or write pairs")
    try:
        if loss_on == "all":
            tokens = _tokens(tokenizer, turns, False)
            return tokens, [True] * len(tokens)
        if after is not None:
            return _after(tokenizer, turns, after)
        if _MARKED.search(str(tokenizer.get_chat_template())):
            return _marked(tokenizer, turns)
        return _by_turns(tokenizer, turns)
    except BadChat:
        raise
    except Exception as error:  # the template of a stranger: anything can be raised
        raise BadChat(f"the model's chat template refuses it: {type(error).__name__}: {error}") from error


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two lists begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _after(tokenizer: PreTrainedTokenizerBase, turns: Turns, count: int) -> Encoded:
    """All after the first `count` turns is learned."""
    prompt, whole = _tokens(tokenizer, turns[:count], True), _tokens(tokenizer, turns, False)
    border = shared(prompt, whole)
    return whole, [False] * border + [True] * (len(whole) - border)


def _marked(tokenizer: PreTrainedTokenizerBase, turns: Turns) -> Encoded:
    found = _written(tokenizer, turns, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    return list(found["input_ids"]), [bool(one) for one in found["assistant_masks"]]


def _by_turns(tokenizer: PreTrainedTokenizerBase, turns: Turns) -> Encoded:
    """By the places in the text at which each of the assistant's turns begins and ends."""
    text, spans = _text(tokenizer, turns, False), []
    for number, turn in enumerate(turns):
        if turn["role"] != "assistant":
            continue
        before = _text(tokenizer, turns[:number], True)
        if not text.startswith(before):
            raise BadChat(_OTHERWISE)
        so_far = _text(tokenizer, turns[: number + 1], False)
        if text.startswith(so_far) and so_far.startswith(before):
            end = len(before) + _said(tokenizer, so_far[len(before) :])
        else:
            end = _end(tokenizer, text, len(before), turn)
        spans.append((len(before), end))
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    mask = [any(start <= a < b <= end for start, end in spans) for a, b in found["offset_mapping"]]
    return list(found["input_ids"]), mask


def _end(tokenizer: PreTrainedTokenizerBase, text: str, start: int, turn: Mapping[str, object]) -> int:
    """Where a turn ends that is written otherwise where it is the last one: with the token behind what it says."""
    said = str(turn.get("content") or "").strip()
    found = re.compile("|".join(map(re.escape, tokenizer.all_special_tokens))).search(text, start)
    if not said or found is None or not text[start : found.start()].rstrip().endswith(said):
        raise BadChat(_OTHERWISE)
    return found.end()


def _said(tokenizer: PreTrainedTokenizerBase, turn: str) -> int:
    """The length of a turn up to the token that ends it; a line break after that belongs to the template."""
    bare = turn.rstrip()
    return len(bare) if any(bare.endswith(token) for token in tokenizer.all_special_tokens) else len(turn)


def _tokens(tokenizer: PreTrainedTokenizerBase, turns: Turns, asks: bool) -> list[int]:
    return list(_written(tokenizer, turns, tokenize=True, return_dict=True, add_generation_prompt=asks)["input_ids"])


def _text(tokenizer: PreTrainedTokenizerBase, turns: Turns, asks: bool) -> str:
    return str(_written(tokenizer, turns, tokenize=False, add_generation_prompt=asks))


def _written(tokenizer: PreTrainedTokenizerBase, turns: Turns, **options: bool) -> Any:
    """What the template makes of turns: a text, or a mapping of lists. transformers states both as one union."""
    return cast(Any, tokenizer).apply_chat_template([dict(turn) for turn in turns], **options)
