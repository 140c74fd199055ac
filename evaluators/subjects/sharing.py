"""Several adapters in one batch: whether it pays, and the bank that holds them meanwhile."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from adapters.bank import for_adapters
from adapters.folder import AdapterWeights
from evaluators.forward.engine import Engine

MOST_ADAPTERS = 16
FULL_BATCHES = 4  # with fewer batches than this, the last one, which is rarely full, is a large part of the time


def adapters_per_batch(device: str, budget: int, tokens: int) -> int:
    """How many adapters to score at once, when each has `tokens` to read and a batch holds `budget`.

    On a CPU one: merged into the weights it costs nothing per token, and a batch fills the cores. On a GPU as many as
    it takes to fill some batches: a big model or a long list of items fills them with one.
    """
    if device == "cpu":
        return 1
    return min(MOST_ADAPTERS, math.ceil(FULL_BATCHES * budget / max(1, tokens)))


@contextmanager
def bank_on(engine: Engine, adapters: Sequence[AdapterWeights]) -> Iterator[None]:
    """Within, rows of the engine with slot i are read with adapters[i], rows without one by the base alone."""
    base = engine.model
    engine.bank = for_adapters(base, dict(enumerate(adapters)), len(adapters), base.dtype, base.device)
    try:
        yield
    finally:
        engine.bank.detach()
        engine.bank = None
