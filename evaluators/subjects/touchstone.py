"""By which every way to put an adapter on a base is tried before its numbers count: what PEFT's own modules say.

An adapter is merged into matrices, or shares a batch with others, because that should come to what PEFT computes beside
the matrices. Whether it does is asked of the model itself, once for adapters of one shape: a matrix that is read by
more than its module, or a module that computes something else, shows in the log-probabilities of some tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import peft
import torch
from transformers import PreTrainedModel

from adapters.folder import AdapterWeights, UnsupportedAdapter
from adapters.loaded import one_line, peft_model, runs
from adapters.probe import TOLERANCE, Agreement, agreement, probe, said, tokens_of

log = logging.getLogger(__name__)

TIMES = 3  # adapters of a shape that are tried where each does so little that no difference would show

Way = Callable[[PreTrainedModel, AdapterWeights], AbstractContextManager[object]]  # within, the base has the adapter


class Touchstone:
    """Of one base. It remembers which shapes of adapters were tried, and with what outcome."""

    def __init__(self, base: PreTrainedModel) -> None:
        self._base, self._tokens_BT = base, tokens_of(base)
        self._known: dict[object, bool] = {}
        self._tried: dict[object, int] = {}

    @cached_property
    def _alone(self) -> torch.Tensor:
        return said(self._base, self._tokens_BT)

    @cached_property
    def _rounding(self) -> float:
        """How far (nats) logits may move for what is no part of their text: some times what it is in the base alone.

        That is nothing in most, for shapes are the same; how many tokens an expert gets is not.
        """
        found = probe(self._base, self._tokens_BT, self._alone)
        return max(TOLERANCE[4], 2 * found.later, 2 * found.others)

    def holds(self, way: Way, adapter: AdapterWeights, folder: Path) -> bool:
        """Whether the base with an adapter put on it in this way says what PEFT's modules make of its folder."""
        matrices = sorted((name, factors.a.shape, factors.b.shape) for name, factors in adapter.modules.items())
        shape = (way.__qualname__, *matrices)
        if shape in self._known:
            return self._known[shape]
        alone = self._alone
        with way(self._base, adapter):
            ours = said(self._base, self._tokens_BT)
        try:
            theirs = said(runs(peft_model(self._base, folder)), self._tokens_BT)
        except UnsupportedAdapter:
            return False  # PEFT's path says why
        return self._book(shape, agreement(ours, theirs, alone, self._base.dtype.itemsize))

    def settle(self, wrapped: peft.PeftModel, mergeable: bool) -> bool:
        """Merge an adapter of PEFT's modules, where that is `mergeable` and not known to say other than before.

        False where that has come out now: the model is to be made again. Raises UnsupportedAdapter where what the model
        says of a text hangs on more than the text.
        """
        model = runs(wrapped)
        config = {key: value for key, value in wrapped.active_peft_config.to_dict().items() if "name" not in key}
        shape = (str(config), *((name, weight.shape) for name, weight in wrapped.named_parameters()))
        if self._known.get(shape) is not None:
            if mergeable and self._known[shape]:
                wrapped.merge_adapter(safe_merge=True)
            return True
        try:
            theirs = said(model, self._tokens_BT)
            trouble = replace(probe(model, self._tokens_BT, theirs), tolerance=self._rounding).trouble
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # a stranger's modules run: anything can be raised
            raise UnsupportedAdapter(f"with it the model does not run: {one_line(error)}") from error
        if trouble is not None:
            raise UnsupportedAdapter(f"with it {trouble}, so a text has no score of its own")
        if mergeable:
            wrapped.merge_adapter(safe_merge=True)
        found = agreement(said(model, self._tokens_BT), theirs, self._alone, self._base.dtype.itemsize)
        return self._book(shape, found)

    def _book(self, shape: object, found: Agreement) -> bool:
        self._tried[shape] = self._tried.get(shape, 0) + 1
        if not found.holds:
            log.warning("merged or in a batch with others an adapter is %.2g nats off: PEFT's modules run", found.off)
        if not found.holds or found.tells or self._tried[shape] == TIMES:
            self._known[shape] = found.holds
        return found.holds
