"""Text that the model writes: lm-eval's own `generate_until`, run on the base as it stands, adapter and all.

Batching by prompt length, left padding, truncation, stop strings and what is cut off after them are lm-eval's code, so
the text is what its `hf` model writes. On an out-of-memory the batch halves and the prompts are read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedTokenizerBase

from evaluators.engine import Engine, is_out_of_memory
from study.tasks import TaskError

MOST_ROWS = 256
CACHE_FACTOR = 4  # rows in generation keep keys and values alone, a fraction of a forward pass over the same tokens


class Writer:
    """Writes on one causal LM."""

    def __init__(self, engine: Engine, tokenizer: PreTrainedTokenizerBase) -> None:
        self._engine = engine
        self._hf = HFLM(pretrained=engine.model, tokenizer=tokenizer)

    def write(self, instances: Sequence[Any], longest: int) -> list[str]:
        """Greedy continuations of lm-eval's instances, in their order. `longest` bounds prompt and answer, tokens.

        Raises TaskError where an answer leaves no room for a prompt, torch.OutOfMemoryError where one row is too many.
        """
        rows = max(1, min(MOST_ROWS, CACHE_FACTOR * self._engine.budget // longest))
        while True:
            self._hf.batch_size_per_gpu = rows
            try:
                return list(self._hf.generate_until(list(instances), disable_tqdm=True))
            except AssertionError as error:  # lm-eval's check that the answer is shorter than the model's limit
                raise TaskError(str(error)) from error
            except RuntimeError as error:
                if rows == 1 or not is_out_of_memory(error):
                    raise
                rows //= 2
                if self._engine.device.type == "cuda":
                    torch.cuda.empty_cache()
