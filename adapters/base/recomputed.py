"""Layers of a base that are computed again in the backward pass, so that of each only its input is kept meanwhile.

Transformers does so in training mode alone, in which a base's own dropout is on. Invariant: what is computed again is
what was computed, bit for bit, whoever the rows were of.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from study.errors import ConfigError

Again = Callable[[], AbstractContextManager[None]]


class Recomputed:
    """The layers of one base. `again` is asked in each forward pass for what has to hold when it is repeated."""

    def __init__(self, base: PreTrainedModel, again: Again) -> None:
        """Raises ConfigError for a base without layers that can be computed again."""
        self._layers = [layer for layer in base.modules() if isinstance(layer, GradientCheckpointingLayer)]
        if not self._layers:
            problem = f"{type(base).__name__} has no layers that transformers can compute again"
            raise ConfigError("training.gradient_checkpointing", True, problem, "set it to false")
        for layer in self._layers:
            layer.forward = _repeated(layer.forward, again)

    def detach(self) -> None:
        """Let the layers keep again what they compute."""
        for layer in self._layers:
            del layer.forward


def _repeated(forward: Callable[..., Any], again: Again) -> Callable[..., Any]:
    def repeated(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        within = again()
        return checkpoint(
            forward,
            *args,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: (nullcontext(), within),
            **kwargs,
        )

    return repeated
