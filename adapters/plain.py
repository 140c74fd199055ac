"""Which adapters are nothing but low-rank products beside the base's linear modules.

Only such a one is put into a bank or merged by us, and only where that means exactly what PEFT makes of its folder. Any
other is scored by PEFT's own modules, which also say what is wrong with a broken one.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from peft.utils.other import get_pattern_key
from transformers import PreTrainedModel

from adapters.folder import AdapterWeights, UnsupportedAdapter, read
from adapters.loaded import config_in
from adapters.sites import sites_named
from adapters.targeting import by_peft
from study.store.layout import CONFIG_FILE

_SELECTIONS = ("layers_to_transform", "layers_pattern", "exclude_modules")  # ways to choose modules that we do not read


def plain_lora(folder: Path, base: PreTrainedModel) -> AdapterWeights | None:
    """The adapter's matrices; None where adding their products would not be what PEFT does, or the folder is broken."""
    try:
        weights = read(folder)
        config_in(folder)  # what PEFT does not take is refused, whichever adapters came before it
    except UnsupportedAdapter:
        return None
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    modules = config.get("target_modules")
    if any(config.get(key) for key in _SELECTIONS) or (isinstance(modules, str) and modules != "all-linear"):
        return None
    if not isinstance(modules, str) and not (
        isinstance(modules, list) and all(isinstance(one, str) for one in modules)
    ):
        return None
    try:
        targets = by_peft(base, modules)
        sites = {site.name: site for site in sites_named(base, targets.modules)}
    except UnsupportedAdapter:
        return None
    head = base.get_output_embeddings()  # type: ignore[no-untyped-call]
    if targets.parameters or sites.keys() != weights.modules.keys():
        return None
    if any(base.get_submodule(name) is head for name in sites):
        return None
    ranks = config.get("rank_pattern") or {}
    for name, factors in weights.modules.items():
        rank = ranks.get(get_pattern_key(list(ranks), name), config["r"])
        fits = factors.a.shape == (rank, sites[name].fan_in) and factors.b.shape == (sites[name].fan_out, rank)
        if not fits or not (torch.isfinite(factors.a).all() and torch.isfinite(factors.b).all()):
            return None
    return weights
