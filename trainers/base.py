"""The frozen base model and what goes with it: loaded once, kept for all jobs of the model in this process."""

from __future__ import annotations

import functools
from typing import Any, cast

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.integrations import HfDeepSpeedConfig

from study.config import LossOn
from study.data.example import Example
from study.models.hub import local_folder
from study.models.resolve import Model
from trainers.data import Row, tokenise

KEPT_DATASETS = 256  # tokenised sources kept: the seeds of a source share one

transformers.utils.logging.disable_progress_bar()


class Base:
    """A base model with its tokenizer and the examples tokenised with it."""

    def __init__(self, model: Model, device: torch.device, spread: dict[str, Any] | None) -> None:
        """Load onto the device, or spread over all processes by these settings of DeepSpeed's (ZeRO 3).

        Spread, a weight is given out as soon as it is read: no process ever holds the whole model on its device.
        """
        self.model, self.partitioned = model, spread is not None
        zero_3 = HfDeepSpeedConfig(spread) if spread is not None else None  # transformers looks for it while it loads
        folder, options = local_folder(model.path, model.revision), {"trust_remote_code": model.trust_remote_code}
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, **options)
        dtype = getattr(torch, model.dtype)
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, **options)
        self.module = cast(torch.nn.Module, loaded)
        self.module.requires_grad_(False)
        del zero_3
        if spread is None:
            self.module.to(device)
        self._rows = functools.lru_cache(KEPT_DATASETS)(self._tokenise)

    @property
    def padding(self) -> int:
        """A token to pad with; it is masked, so any will do."""
        return int(self.tokenizer.pad_token_id or self.tokenizer.eos_token_id or 0)

    def rows(self, examples: tuple[Example, ...], max_length: int, loss_on: LossOn) -> tuple[Row, ...]:
        """The examples' token rows. Raises BadData."""
        return self._rows(examples, max_length, loss_on)

    def _tokenise(self, examples: tuple[Example, ...], max_length: int, loss_on: LossOn) -> tuple[Row, ...]:
        return tokenise(self.tokenizer, examples, max_length, loss_on)
