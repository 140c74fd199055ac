"""Weights that ZeRO 3 has spread over processes, put together where something is computed of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch


@contextmanager
def whole(weights: Sequence[torch.Tensor]) -> Iterator[None]:
    """Within, these weights are whole in this process; where they are spread every process has to ask."""
    if not any(hasattr(weight, "ds_id") for weight in weights):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(weights)):
        yield
