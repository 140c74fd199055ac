"""The frozen base model and what goes with it: loaded once, kept for all jobs of the model in this process."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
import transformers
from transformers.integrations import HfDeepSpeedConfig

from adapters.base import load_model, load_tokenizer, not_causal
from adapters.probe import probe
from study.config import LossOn
from study.data.example import Example
from study.models.resolve import Model
from trainers.data import Row, tokenise

KEPT_DATASETS = 256  # tokenised sources kept: the seeds of a source share one

transformers.utils.logging.disable_progress_bar()


class Base:
    """A base model with its tokenizer and the examples tokenised with it."""

    def __init__(self, model: Model, device: torch.device, spread: Mapping[str, object] | None) -> None:
        """Load onto the device, or spread over all processes by these settings of DeepSpeed's (ZeRO 3).

        Spread, each weight is dealt out as soon as it is read: no process ever holds the whole model on its device.
        """
        self.model, self.partitioned = model, spread is not None
        # transformers looks for this while it loads
        zero_3 = HfDeepSpeedConfig(dict(spread)) if spread is not None else None
        self.tokenizer = load_tokenizer(model)
        self.module = load_model(model)
        self.module.requires_grad_(False)
        del zero_3
        if spread is None:
            self.module.to(device)  # type: ignore[arg-type]  # behind a decorator that hides its arguments
            self._check_causal()
        self._rows = functools.lru_cache(KEPT_DATASETS)(self._tokenise)

    def _check_causal(self) -> None:
        """Raise ConfigError for a base that reads what comes after a token. Spread ones cannot be run by themselves."""
        self.module.eval()
        if not (found := probe(self.module)).is_causal:
            raise not_causal(self.model, f"later tokens move earlier logits by {found.later:.2g} nats")

    @property
    def padding(self) -> int:
        """A token to pad with; it is masked, so any will do."""
        return int(self.tokenizer.pad_token_id or self.tokenizer.eos_token_id or 0)

    def rows(self, examples: tuple[Example, ...], max_length: int, loss_on: LossOn) -> tuple[Row, ...]:
        """The examples' token rows. Raises BadData."""
        return self._rows(examples, max_length, loss_on)

    def _tokenise(self, examples: tuple[Example, ...], max_length: int, loss_on: LossOn) -> tuple[Row, ...]:
        return tokenise(self.tokenizer, examples, max_length, loss_on)
