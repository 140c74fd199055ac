"""Requests as token ids, exactly as lm-eval's `hf` model makes them.

The rules (joint encoding of context and option, trailing spaces moved to the option, BOS handling, what stands
in for an empty context, the chat template, the model's maximum length) are not written again here: lm-eval's own
class applies them, on a model without weights. One thing differs: a chat template that writes today's date (as Llama
3.2's does) writes the same one on every day, or a base and an adapter scored on two days would be asked otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapters.base.loading import shell_of
from adapters.base.today import stop_the_clock
from evaluators.forward.rows import Request
from study.config import Scoring
from study.data.harness import Instance
from study.errors import TaskError
from study.identity import digest
from study.models.chat import tokenizer_of
from study.models.resolve import Model

Encoded = tuple[tuple[str, str], list[int], list[int]]  # a request of lm-eval's: texts, tokens of prompt and option


stop_the_clock()


@dataclass(frozen=True)
class Writing:
    """How an answer that is written ends: at one of these texts, after so many tokens, or with EOS."""

    until: tuple[str, ...]
    max_gen_toks: int


class Encoder(HFLM):
    """lm-eval's `hf` model up to the point where it would run: texts in, token ids out."""

    def __init__(
        self, shell: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None
    ) -> None:
        super().__init__(pretrained=shell, tokenizer=tokenizer, max_length=max_length)
        self._longest = int(self.max_length)
        self._known: dict[tuple[str, bool | None], list[int]] = {}

    def chat(self, scoring: Scoring) -> Callable[..., str] | None:
        """What writes the turns of a prompt as a scoring asks for; None where prompts are plain texts."""
        if not scoring.apply_chat_template:
            return None
        self.chat_template_args = dict(scoring.template_args)
        return cast(Callable[..., str], self.apply_chat_template)

    def shortened(self, by: int) -> Encoder:
        """The same for texts that leave room for so many tokens before them."""
        return Encoder(self.model, self.tokenizer, self._longest - by)

    @property
    def identity(self) -> str:
        """Digest of what decides the token ids of a text: models of one identity share requests."""
        tokenizer: PreTrainedTokenizerBase = self.tokenizer
        fast = getattr(tokenizer, "backend_tokenizer", None)  # others state no more than their vocabulary
        return digest(
            {
                "class": type(tokenizer).__name__,
                "tokenizer": tokenizer.get_vocab() if fast is None else fast.to_str(),
                "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
                "chat_template": str(tokenizer.chat_template),
                "prefix": self.prefix_token_id,
                "bos": self.add_bos_token,
                "longest": self._longest,
                "max_gen_toks": self.max_gen_toks,
            }
        )

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: object) -> list[int]:
        """As lm-eval's; a context is encoded once, not once per option."""
        key = (string, add_special_tokens)
        if key not in self._known:
            self._known[key] = super().tok_encode(string, add_special_tokens, **kwargs)
        return self._known[key]

    def _loglikelihood_tokens(self, requests: list[Encoded], **_: object) -> list[tuple[list[int], list[int]]]:
        return [(context, option) for _, context, option in requests]

    def requests(self, instances: Sequence[Instance]) -> list[Request]:
        """Token ids of lm-eval instances, in their order. Raises TaskError for an option of no token, or too many."""
        for instance in instances:
            if not all(isinstance(text, str) for text in instance.args):
                raise TaskError(f"document {instance.doc_id}: prompt and option are no texts: {instance.args!r:.200}")
            if instance.args[1] == "":
                raise TaskError(f"document {instance.doc_id}: an option is empty, so it has no log-likelihood")
        try:
            pairs = self.loglikelihood(list(instances), disable_tqdm=True)
        finally:
            self._known.clear()
        return [self._request(instance, *pair) for instance, pair in zip(instances, pairs, strict=True)]

    def windows(self, instances: Sequence[Instance]) -> list[list[Request]]:
        """The parts of each instance's text, as long as the model reads: the text's log-likelihood is their sum."""
        return [
            [
                Request((*context, *scored), len(scored))
                for context, scored in map(
                    make_disjoint_window,
                    get_rolling_token_windows(
                        self.tok_encode(instance.args[0]), self.prefix_token_id, self._longest, 1
                    ),
                )
            ]
            for instance in instances
        ]

    def longest_writing(self, instances: Sequence[Instance]) -> int:
        """Tokens of the longest prompt and of the longest answer that lm-eval instances ask for, together."""
        prompts = max(len(self.tok_encode(instance.args[0])) for instance in instances)
        self._known.clear()
        answers = max(self._writes(instance) for instance in instances)
        return min(self._longest, prompts + answers)

    def most(self, instance: Instance) -> int | None:
        """How long an instance's text may be before it is cut; None where it is read in windows, all of it."""
        if instance.request_type == "loglikelihood_rolling":
            return None
        if instance.request_type == "generate_until":
            return self._longest - self._writes(instance)
        return self._longest + 1  # the last token is not read: it is predicted only

    def _writes(self, instance: Instance) -> int:
        return self.writing(instance).max_gen_toks

    def writing(self, instance: Instance) -> Writing:
        """How an answer that is written ends."""
        how = normalize_gen_kwargs(instance.args[1], self.max_gen_toks)
        return Writing(tuple(how["until"]), int(how["max_gen_toks"]))

    def _request(self, instance: Instance, context: list[int], option: list[int]) -> Request:
        if not context or not option:
            part = "option adds no token to its prompt" if context else "prompt is no token"
            raise TaskError(f"document {instance.doc_id}: the {part}: {instance.args!r:.200}")
        if len(option) > self._longest:
            raise TaskError(
                f"document {instance.doc_id}: an option of {len(option)} tokens, the model reads {self._longest}"
            )
        return Request(tuple((context + option)[-(self._longest + 1) :]), len(option))


def encoder_of(model: Model) -> Encoder:
    """The encoder of a model, read from its folder or the Hub without its weights."""
    return Encoder(shell_of(model), tokenizer_of(model))
