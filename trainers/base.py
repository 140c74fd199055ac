"""The frozen base model and what goes with it: loaded once, kept for all jobs of the model in this process."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
import transformers
from transformers.integrations import HfDeepSpeedConfig

from adapters.base.loading import check_readable, embedded, load_model
from adapters.base.today import stop_the_clock
from adapters.kinds.kind import Kind
from study.config import LossOn
from study.data.example import Example
from study.models.chat import tokenizer_of
from study.models.resolve import Model
from trainers.data import BadData, Row, prompt_row, tokenise

KEPT_DATASETS = 256  # tokenised sources kept: the seeds of a source share one

transformers.utils.logging.disable_progress_bar()
stop_the_clock()


class Base:
    """A base model with its tokenizer and the examples tokenised with it."""

    def __init__(self, model: Model, device: torch.device, spread: Mapping[str, object] | None) -> None:
        """Load onto the device, or spread over all processes by these settings of DeepSpeed's (ZeRO 3).

        Spread, each weight is dealt out as soon as it is read: no process ever holds the whole model on its device.
        """
        self.model, self.partitioned = model, spread is not None
        # transformers looks for this while it loads
        zero_3 = HfDeepSpeedConfig(dict(spread)) if spread is not None else None
        self.tokenizer = tokenizer_of(model)
        self.module = load_model(model, device)
        self.module.requires_grad_(False)
        del zero_3
        if spread is None:
            self.module.to(device)  # type: ignore[arg-type]  # behind a decorator that hides its arguments
            check_readable(self.module.eval(), model)
        self._left_out: dict[Kind, tuple[str, ...]] = {}
        self._rows = functools.lru_cache(KEPT_DATASETS)(self._tokenise)
        self._prompts = functools.lru_cache(KEPT_DATASETS)(self._tokenise_prompts)

    def left_out(self, kind: Kind) -> tuple[str, ...]:
        """What a kind of tuning leaves out of this base.

        Raises ConfigError where an adapter's files would not be what was trained. A base that is spread cannot be run
        by itself, so there only names are looked at.
        """
        if kind not in self._left_out:
            if not self.partitioned:
                kind.check(self.module, self.model)
            self._left_out[kind] = kind.left_out(self.module)
        return self._left_out[kind]

    @property
    def padding(self) -> int:
        """A token to pad with; it is masked, so any that the embedding has will do."""
        told = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return next((int(token) for token in told if token and token < embedded(self.module)), 0)

    def rows(self, examples: tuple[Example, ...], max_length: int, loss_on: LossOn) -> tuple[Row, ...]:
        """The examples' token rows. Raises BadData."""
        return self._rows(examples, max_length, loss_on)

    def prompts(self, examples: tuple[Example, ...], max_length: int) -> tuple[Row, ...]:
        """The token rows of these pairs' prompts. Raises BadData."""
        return self._prompts(examples, max_length)

    def _tokenise(self, examples: tuple[Example, ...], max_length: int, loss_on: LossOn) -> tuple[Row, ...]:
        return self._known(tokenise(self.tokenizer, examples, max_length, loss_on))

    def _tokenise_prompts(self, examples: tuple[Example, ...], max_length: int) -> tuple[Row, ...]:
        rows = {one: prompt_row(self.tokenizer, one, max_length) for one in dict.fromkeys(examples)}
        return self._known(tuple(rows[one] for one in examples))

    def _known(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """Rows whose tokens the embedding knows. Raises BadData for others."""
        largest, known = max((max(row.tokens) for row in rows), default=0), embedded(self.module)
        if largest >= known:
            raise BadData(f"the tokenizer writes token {largest}, and the model's embedding has {known} rows")
        return rows
