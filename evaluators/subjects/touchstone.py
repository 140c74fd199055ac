"""By which every way to put an adapter on a base is tried before its numbers count: what PEFT's own modules say.

An adapter is merged into matrices, or shares a batch with others, because that should come to what PEFT computes beside
the matrices. Whether it does is asked of the model itself: a matrix that is read by more than its module, or a module
that computes something else, shows in the log-probabilities of some tokens. Low-rank products are asked once for
adapters of one shape, by one that does enough for a difference to show; of what else PEFT knows each adapter is asked.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import peft
import torch
from transformers import PreTrainedModel

from adapters.base.probe import TOLERANCE, Agreement, agreement, precision, probe, said, tokens_of
from adapters.folders.folder import AdapterWeights, UnsupportedAdapter
from adapters.modules.comparison import Way, at_random, compared, compared_strongly, fill
from adapters.modules.loaded import one_line, peft_model, runs
from adapters.quantising.weights import rounds_inputs

log = logging.getLogger(__name__)


class Touchstone:
    """Of one base. It remembers which shapes of adapters were tried, and with what outcome."""

    def __init__(self, base: PreTrainedModel) -> None:
        self._base, self._tokens_BT, self._rounds_inputs = base, tokens_of(base), rounds_inputs(base)
        self._known: dict[object, bool] = {}
        self._unmerged: set[object] = set()

    @cached_property
    def _alone(self) -> torch.Tensor:
        return said(self._base, self._tokens_BT)

    @cached_property
    def _rounding(self) -> float:
        """How far (nats) logits may move for what is no part of their text: some times what it is in the base alone.

        That is nothing in most, for shapes are the same; how many tokens an expert gets is not, nor is it which inputs
        of a batch are too large for 8 bits.
        """
        found, least = probe(self._base, self._tokens_BT, self._alone), TOLERANCE[2 if self._rounds_inputs else 4]
        return max(least, 2 * found.later, 2 * found.others)

    def holds(self, way: Way, adapter: AdapterWeights, folder: Path) -> bool:
        """Whether the base with an adapter put on it in this way says what PEFT's modules make of its folder.

        Where this one does too little to tell, one of its shape with weights at random is asked in its place.
        """
        matrices = sorted((name, factors.a.shape, factors.b.shape) for name, factors in adapter.modules.items())
        shape = (way.__qualname__, *matrices)
        if shape not in self._known:
            try:
                wrapped = peft_model(self._base, folder)
                found = compared(self._base, way, adapter, wrapped, self._alone)
                if found.holds and not found.tells:
                    other = _like(adapter)
                    fill(wrapped, other)
                    found = compared_strongly(self._base, way, other, wrapped, self._alone)
            except UnsupportedAdapter:
                return False  # PEFT's path says why
            self._known[shape] = _agreed(found)
        return self._known[shape]

    def settle(self, wrapped: peft.PeftModel, mergeable: bool) -> bool:
        """Merge an adapter of PEFT's modules, where that is `mergeable` and not known to say other than before.

        False where that has come out now: the model is to be made again. Raises UnsupportedAdapter where what the model
        says of a text hangs on more than the text.
        """
        model = runs(wrapped)
        try:
            theirs = said(model, self._tokens_BT)
            trouble = replace(probe(model, self._tokens_BT, theirs), tolerance=self._rounding).trouble
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # a stranger's modules run: anything can be raised
            raise UnsupportedAdapter(f"with it the model does not run: {one_line(error)}") from error
        if trouble is not None:
            raise UnsupportedAdapter(f"with it {trouble}, so a text has no score of its own")
        config = {key: value for key, value in wrapped.active_peft_config.to_dict().items() if "name" not in key}
        shape = (str(config), *((name, weight.shape) for name, weight in wrapped.named_parameters()))
        if not mergeable or shape in self._unmerged:
            return True
        wrapped.merge_adapter(safe_merge=True)
        if _agreed(agreement(said(model, self._tokens_BT), theirs, self._alone, precision(self._base))):
            return True
        self._unmerged.add(shape)
        return False


def _agreed(found: Agreement) -> bool:
    if not found.holds:
        log.warning("merged or in a batch with others an adapter is %.2g nats off: PEFT's modules run", found.off)
    return found.holds


def _like(adapter: AdapterWeights) -> AdapterWeights:
    """One of the same shape and scalings with weights at random."""
    known = adapter.modules.items()
    shapes = {name: (len(own.a), own.a.shape[1], own.b.shape[0]) for name, own in known}
    return at_random(shapes, {name: own.scaling for name, own in known})
