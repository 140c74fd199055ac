"""A model's tokenizer and what its chat template writes, without the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from study.config import Scoring
from study.models.hub import local_folder
from study.models.resolve import Model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Turns = Sequence[Mapping[str, str]]


def tokenizer_of(model: Model) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model; on the Hub it fetches no weights for it. Raises OSError where it cannot be had."""
    from transformers import AutoTokenizer

    folder = local_folder(model.path, model.revision, weights=False)
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
    return loaded


def begins(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Whether lm-eval lets the tokenizer put its special tokens to a text: not where BOS stands there already."""
    bos = tokenizer.bos_token
    return bos is None or not text.startswith(str(bos))


def template_of(tokenizer: PreTrainedTokenizerBase, scoring: Scoring) -> Callable[..., str] | None:
    """What writes the turns of a prompt as a scoring asks for; None where prompts are plain texts."""
    if not scoring.apply_chat_template or not tokenizer.chat_template:
        return None

    options: dict[str, Any] = dict(scoring.chat_template_args or {})

    def write(turns: Turns, add_generation_prompt: bool = True) -> str:
        options["add_generation_prompt"] = add_generation_prompt
        options["continue_final_message"] = not add_generation_prompt
        return str(tokenizer.apply_chat_template([dict(turn) for turn in turns], tokenize=False, **options))

    return write
