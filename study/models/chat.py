"""A model's tokenizer and what its chat template writes, without the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from study.config import Scoring
from study.errors import ConfigError
from study.models.hub import local_folder
from study.models.resolve import Model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Turns = Sequence[Mapping[str, str]]


def tokenizer_of(model: Model) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model; on the Hub it fetches no weights for it.

    Raises OSError where it cannot be had, ConfigError where code that nobody has trusted would make it.
    """
    from transformers import AutoTokenizer

    folder = local_folder(model.path, model.revision, weights=False)
    trusted = model.trust_remote_code
    try:
        loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted)
    except ValueError as error:
        if trusted or "trust_remote_code" not in str(error):
            raise
        problem = "its tokenizer is made by code that its folder brings with it"
        raise ConfigError("models", model.path, problem, "read it, then set trust_remote_code: true") from error
    return loaded


def templates_of(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Name the chat templates of a tokenizer that has several."""
    return list(tokenizer.chat_template) if isinstance(tokenizer.chat_template, dict) else []


def begins(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Whether lm-eval lets the tokenizer put its special tokens to a text: not where BOS stands there already."""
    bos = tokenizer.bos_token
    return bos is None or not text.startswith(str(bos))


def template_of(tokenizer: PreTrainedTokenizerBase, scoring: Scoring) -> Callable[..., str] | None:
    """What writes the turns of a prompt as a scoring asks for; None where prompts are plain texts."""
    if not scoring.apply_chat_template or not tokenizer.chat_template:
        return None

    options: dict[str, Any] = dict(scoring.template_args)

    def write(turns: Turns, add_generation_prompt: bool = True) -> str:
        options["add_generation_prompt"] = add_generation_prompt
        options["continue_final_message"] = not add_generation_prompt
        return str(tokenizer.apply_chat_template([dict(turn) for turn in turns], tokenize=False, **options))

    return write
