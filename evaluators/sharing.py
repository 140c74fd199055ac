"""Several adapters in one batch: whether it pays, which adapters can, and the bank that holds them meanwhile.

An adapter is put into the bank only where that means exactly what PEFT makes of its folder; any other is scored on its
own, by PEFT's own modules, which also say what is wrong with a broken one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft.utils.other import get_pattern_key

from adapters.lora_bank import for_adapters, linear_sites
from adapters.peft_folder import CONFIG_FILE, AdapterWeights, UnsupportedAdapter, read
from evaluators.engine import Engine

MOST_ADAPTERS = 16
FULL_BATCHES = 4  # with fewer batches than this, the last one, which is rarely full, is a large part of the time
_SELECTIONS = ("layers_to_transform", "layers_pattern", "exclude_modules")  # ways to choose modules that we do not read


def adapters_per_batch(device: str, budget: int, tokens: int) -> int:
    """How many adapters to score at once, when each has `tokens` to read and a batch holds `budget`.

    On a CPU one: merged into the weights it costs nothing per token, and a batch fills the cores. On a GPU as many as
    it takes to fill some batches: a big model or a long list of items fills them with one.
    """
    if device == "cpu":
        return 1
    return min(MOST_ADAPTERS, math.ceil(FULL_BATCHES * budget / max(1, tokens)))


def shareable(folder: Path, base: Any) -> AdapterWeights | None:
    """The adapter as a bank takes it; None where a bank would not compute what PEFT does."""
    try:
        weights = read(folder)
    except UnsupportedAdapter:
        return None
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    modules = config.get("target_modules")
    if any(config.get(key) for key in _SELECTIONS) or (isinstance(modules, str) and modules != "all-linear"):
        return None
    head = base.get_output_embeddings()
    sites = {site.name: site for site in linear_sites(base, modules or ())}
    if sites.keys() != weights.modules.keys() or any(base.get_submodule(name) is head for name in sites):
        return None
    ranks = config.get("rank_pattern") or {}
    for name, factors in weights.modules.items():
        rank = ranks.get(get_pattern_key(list(ranks), name), config["r"])
        fits = factors.a.shape == (rank, sites[name].fan_in) and factors.b.shape == (sites[name].fan_out, rank)
        if not fits or not (torch.isfinite(factors.a).all() and torch.isfinite(factors.b).all()):
            return None
    return weights


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
