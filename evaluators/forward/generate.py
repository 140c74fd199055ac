"""Text that the model writes: lm-eval's own `generate_until`, run on the base as it stands, adapters and all.

Batching by prompt length, left padding, truncation, stop strings and what is cut off after them are lm-eval's code, so
the text is what its `hf` model writes. Prompts of several adapters share batches where the engine has a bank of them.
On an out-of-memory the batch halves and the prompts are read again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapters.base.device import empty_cache
from adapters.base.probe import has_prompt
from evaluators.forward.engine import Engine
from evaluators.forward.padding import PROMPTS, pads_exactly
from study.data.harness import Instance
from study.errors import TaskError
from study.faults.device import is_out_of_memory
from study.pulse import beat

log = logging.getLogger(__name__)

MOST_ROWS = 256
CACHE_FACTOR = 4  # rows in generation keep keys and values alone, a fraction of a forward pass over the same tokens


class _Prompt(str):
    """A prompt that carries its adapter's slot through lm-eval's sorting and batching, and what became of its answer.

    That is whether it ended at the limit of tokens, without an end of its own.
    """

    slot: int | None
    cut_off: bool = False


@dataclass(frozen=True)
class _Request:
    args: tuple[_Prompt, Mapping[str, object]]


class _Hf(HFLM):
    """lm-eval's `hf` model, each row of a batch with its own adapter of the engine's bank."""

    def __init__(self, engine: Engine, tokenizer: PreTrainedTokenizerBase, longest: int) -> None:
        self._engine = engine
        super().__init__(pretrained=engine.model, tokenizer=tokenizer, max_length=longest)
        self._prompts: Sequence[_Prompt] = ()  # of the batch

    @property
    def model(self) -> PreTrainedModel:
        """The one that the engine runs at the moment."""
        return self._engine.model

    def tok_batch_encode(
        self, strings: Sequence[_Prompt], *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self._prompts = strings
        ids_BT, mask_BT = super().tok_batch_encode(list(strings), *args, **kwargs)
        return ids_BT, mask_BT

    def _model_generate(
        self, context: torch.Tensor, max_length: int, stop: Sequence[str], **kwargs: object
    ) -> torch.Tensor:
        each_token = self.model.register_forward_hook(_beat)
        try:
            with self._engine.rows_of([prompt.slot for prompt in self._prompts]):
                written_BT: torch.Tensor = super()._model_generate(context, max_length, stop, **kwargs)
        finally:
            each_token.remove()
        full = written_BT.shape[1] >= max_length
        for prompt, answer in zip(self._prompts, written_BT[:, context.shape[1] :].tolist(), strict=True):
            text = self.tokenizer.decode(answer)  # as the stopping criteria read it
            prompt.cut_off = full and not self._ends.intersection(answer) and not any(end in text for end in stop)
        return written_BT

    @property
    def _ends(self) -> set[int]:
        """The tokens that end an answer, and what fills up behind them."""
        stated = getattr(self.model.generation_config, "eos_token_id", None)
        several = stated if isinstance(stated, list) else [stated]
        return {one for one in (*several, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id) if one is not None}


@dataclass(frozen=True)
class Written:
    """An answer, and whether it ended at the limit of tokens, without an end of its own."""

    text: str
    cut_off: bool


class Writer:
    """Has one causal LM, which reads texts of up to `longest` tokens, write answers."""

    def __init__(self, engine: Engine, tokenizer: PreTrainedTokenizerBase, longest: int) -> None:
        self._engine = engine
        self._hf = _Hf(engine, tokenizer, longest)
        self._pads: bool | None = None  # whether prompts may be filled up, once it is known

    def write(self, instances: Sequence[Instance], slots: Sequence[int | None], longest: int) -> list[Written]:
        """Greedy continuations of lm-eval's instances, each by the adapter in its slot, in their order.

        `longest` bounds prompt and answer, in tokens. Raises TaskError where an answer leaves no room for a prompt,
        torch.OutOfMemoryError where one row is too many.
        """
        requests = [_request(instance, slot) for instance, slot in zip(instances, slots, strict=True)]
        rows = self._rows(longest)
        while (texts := self._tried(requests, rows)) is None:
            rows //= 2
            empty_cache()
        return [Written(text, one.args[0].cut_off) for text, one in zip(texts, requests, strict=True)]

    def _tried(self, requests: list[_Request], rows: int) -> list[str] | None:
        """What is written for requests, so many rows at once; None where memory does not hold that many."""
        self._hf.batch_size_per_gpu = rows
        try:
            return list(self._hf.generate_until(requests, disable_tqdm=True))
        except AssertionError as error:  # lm-eval's check that the answer is shorter than the model's limit
            raise TaskError(str(error)) from error
        except RuntimeError as error:
            if rows == 1 or not is_out_of_memory(error):
                raise
            return None

    def _rows(self, longest: int) -> int:
        """How many texts of up to so many tokens are written at once: one where others beside it would change it."""
        engine = self._engine
        turns = engine.turn is not None and longest > engine.turn
        if has_prompt(engine.model) or turns:  # PEFT takes no positions there: a row filled up would be read wrong
            return 1
        if self._pads is None:
            try:
                with engine.rows_of([None] * len(PROMPTS)):
                    self._pads = pads_exactly(engine.model)
                if not self._pads:
                    name = type(engine.model).__name__
                    log.warning("%s writes other texts after padding: prompts are written one by one", name)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                return 1
        return max(1, min(MOST_ROWS, CACHE_FACTOR * engine.budget // longest)) if self._pads else 1


def _beat(*_: object) -> None:
    beat()


def _request(instance: Instance, slot: int | None) -> _Request:
    prompt = _Prompt(instance.args[0])
    prompt.slot = slot
    return _Request((prompt, instance.args[1]))
