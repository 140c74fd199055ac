"""All weights of a base as the row of a sheet [1, P], in parts: full fine-tuning, as a gang of one.

Each part is a weight of a model like the base, which itself stays what it was, so that DeepSpeed does with each what it
does with a model's. Matrices stand first in the row; biases and the weights of norms, which transformers' Trainer does
not decay, stand last.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.trainer_pt_utils import get_parameter_names

from adapters.bank.dropout import Dropout
from adapters.base.recomputed import Recomputed
from adapters.base.skeleton import skeleton
from adapters.base.spread import Saved, copied, is_spread, size_of
from study.scratch import os_errors

_NOT_DECAYED = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]  # as in the Trainer


class WholeSheet(nn.Module):
    """A base again, with weights of its own, which are trained."""

    slots, pace = 1, None

    def __init__(self, base: PreTrainedModel) -> None:
        super().__init__()
        found = dict(base.named_parameters())
        # In the weights' own precision, or one that holds all where they have several: DeepSpeed brings it to the
        # model's anyway before it spreads float32 copies.
        dtype = functools.reduce(torch.promote_types, (weight.dtype for weight in found.values()))
        own = {name: copied(weight, dtype) for name, weight in found.items()}
        self.model: PreTrainedModel = skeleton(base, others=own)
        matrices = set(get_parameter_names(base, [nn.LayerNorm], _NOT_DECAYED))  # type: ignore[no-untyped-call]
        self._names = sorted(found, key=lambda name: name not in matrices)
        self._saved: Saved | None = None
        self.decayed = sum(size_of(own[name]) for name in matrices & own.keys())

    @property
    def parts(self) -> Sequence[nn.Parameter]:
        own = dict(self.model.named_parameters())
        return [own[name] for name in self._names]

    def logits(
        self, inputs: Mapping[str, object], slots: Sequence[int | None], dropout: Dropout | None
    ) -> torch.Tensor:
        if self._saved is None and is_spread(self.model):
            self._saved = Saved(self.model)
        with nullcontext() if self._saved is None else self._saved.as_places():
            logits_BTV: torch.Tensor = self.model(**inputs).logits
        return logits_BTV

    def copies(self, slot: int, parts: Sequence[torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        weights = zip(self._names, self.parts if parts is None else parts, strict=True)
        return {name: weight.detach().to("cpu", copy=True) for name, weight in weights}

    def begin(self, slot: int, tensors: Mapping[str, torch.Tensor]) -> None:
        raise TypeError("all weights are trained: there is no adapter to begin with")

    def squared_norms(self) -> torch.Tensor:
        raise TypeError("there is no product beside the base's matrices")

    def recompute(self) -> None:
        Recomputed(self.model, nullcontext)

    def detach(self) -> None:
        """Does nothing: the base is no part of this."""


def write(folder: Path, base: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the base with other weights as transformers saves a model, without a path of this machine."""
    own = {*weights, *(name for name, _ in base.named_buffers())}  # what is left out is tied to one of these
    state = {name: weights.get(name, value) for name, value in base.state_dict().items() if name in own}
    with os_errors():
        base.save_pretrained(folder, state_dict=state)
