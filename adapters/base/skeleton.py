"""A base's modules again, over the same weights: what strangers' code may wrap, replace and take apart.

PEFT builds its modules into the model it is given and does not always take them out again. On a skeleton it may:
modules, hooks, config and parameters are new objects, the numbers are the base's own and are held once. Invariant:
whatever is done to the skeleton, the base's modules stay as they are; its numbers do as long as none is written in
place, and those named in `own` may be.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from adapters.quantising.weights import shared_by


def skeleton(base: Any, own: Collection[str] = (), others: Mapping[str, nn.Parameter] | None = None) -> Any:
    """Another model over the base's weights, or over `others` by the same names.

    Parameters and buffers that are named in `own` are copies.
    """
    known: dict[int, Any] = {}
    for name, weight in base.named_parameters():
        values = weight.detach().clone() if name in own else weight.detach()
        fresh = nn.Parameter(values, requires_grad=weight.requires_grad)
        known[id(weight)] = fresh if others is None else others[name]
    for name, buffer in base.named_buffers():
        known[id(buffer)] = buffer.clone() if name in own else buffer.detach()
    known.update((id(one), other) for one, other in shared_by(base))
    with torch.no_grad():
        return copy.deepcopy(base, known)
