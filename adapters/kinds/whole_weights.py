"""All weights of a base as one row of a sheet [1, P]: full fine-tuning, as a gang of one.

The base computes with views of the sheet in place of its own weights, which stay what they were. Matrices stand first
in the row; biases and the weights of norms, which transformers' Trainer does not decay, stand last.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.func import functional_call
from transformers import PreTrainedModel
from transformers.trainer_pt_utils import get_parameter_names

from adapters.bank.dropout import Dropout
from adapters.kinds.row import Row
from study.scratch import os_errors

_NOT_DECAYED = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]  # as in the Trainer


class WholeSheet(Row):
    """A trainable copy of a base's weights. The base itself is no part of this module: its weights are not trained."""

    model: PreTrainedModel

    def __init__(self, base: PreTrainedModel, device: torch.device) -> None:
        matrices = set(get_parameter_names(base, [nn.LayerNorm], _NOT_DECAYED))  # type: ignore[no-untyped-call]
        found = dict(sorted(base.named_parameters(), key=lambda item: item[0] not in matrices))
        decayed = sum(weight.numel() for name, weight in found.items() if name in matrices)
        # In the weights' own precision, or one that holds all where they have several: DeepSpeed brings it to the
        # model's anyway before it spreads float32 copies.
        dtype = functools.reduce(torch.promote_types, (weight.dtype for weight in found.values()))
        super().__init__(found, decayed, device, dtype)
        self.__dict__["model"] = base  # set as an attribute it would become a part

    def logits(
        self, inputs: Mapping[str, object], slots: Sequence[int | None], dropout: Dropout | None
    ) -> torch.Tensor:
        """What the base gives with these weights in place of its own; tied ones are exchanged together."""
        logits_BTV: torch.Tensor = functional_call(self.model, self(), kwargs=dict(inputs)).logits
        return logits_BTV

    def begin(self, slot: int, tensors: Mapping[str, torch.Tensor]) -> None:
        raise TypeError("all weights are trained: there is no adapter to begin with")


def write(folder: Path, base: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the base with other weights as transformers saves a model, without a path of this machine."""
    own = {*weights, *(name for name, _ in base.named_buffers())}  # what is left out is tied to one of these
    state = {name: weights.get(name, value) for name, value in base.state_dict().items() if name in own}
    with os_errors():
        base.save_pretrained(folder, state_dict=state)
