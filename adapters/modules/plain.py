"""Which adapters are nothing but low-rank products beside the base's linear modules.

Only such a one is put into a bank or merged by us, and only where that means exactly what PEFT makes of its folder. Any
other is scored by PEFT's own modules, which also say what is wrong with a broken one.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import torch
from peft.utils.other import get_pattern_key
from transformers import PreTrainedModel

from adapters.folders.folder import AdapterWeights, UnsupportedAdapter, read
from adapters.folders.sites import sites_named
from adapters.folders.targeting import by_peft
from adapters.modules.loaded import config_in
from study.store.layout import CONFIG_FILE

KEPT = 1 << 26  # bytes of adapters that stay read: some dozens of a small model's, of a large one none
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


class Plain:
    """Reads adapters for a base as `plain_lora` does. Those read or `put` last stay, of KEPT bytes together."""

    def __init__(self, base: PreTrainedModel) -> None:
        self._base = base
        self._known: OrderedDict[Path, AdapterWeights] = OrderedDict()
        self._held = 0  # bytes of these

    def __call__(self, folder: Path) -> AdapterWeights | None:
        if folder in self._known:
            self._known.move_to_end(folder)
            return self._known[folder]
        found = plain_lora(folder, self._base)
        if found is not None:
            self._keep(folder, found)
        return found

    def put(self, folder: Path, weights: AdapterWeights) -> None:
        """Keep what was written into a folder for this base. What is not finite is left to be read, and refused."""
        halves = (half for own in weights.modules.values() for half in (own.a, own.b))
        if all(bool(torch.isfinite(half).all()) for half in halves):
            self._keep(folder, weights)

    def _keep(self, folder: Path, weights: AdapterWeights) -> None:
        """Keep it in the place of those that were read longest ago; one that has no room by itself takes none's."""
        before = self._known.pop(folder, None)
        self._held -= 0 if before is None else before.bytes
        if weights.bytes > KEPT:
            return
        self._known[folder] = weights
        self._held += weights.bytes
        while self._held > KEPT:
            self._held -= self._known.popitem(last=False)[1].bytes
