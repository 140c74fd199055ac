"""The linear modules of a base that adapters change, and what is kept of each in a row of a bank's sheet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from transformers.pytorch_utils import Conv1D

from adapters.folders.folder import AdapterWeights, UnsupportedAdapter


@dataclass(frozen=True)
class Site:
    """A linear module of the base, and what a sheet's row keeps of it: A, B, and a magnitude where it `is_scaled`."""

    name: str
    fan_in: int
    fan_out: int
    is_scaled: bool = False

    def shapes(self, rank: int) -> tuple[tuple[int, ...], ...]:
        matrices = ((rank, self.fan_in), (self.fan_out, rank))
        return (*matrices, (self.fan_out,)) if self.is_scaled else matrices


def sites_of(base: nn.Module, adapters: Iterable[AdapterWeights]) -> tuple[Site, ...]:
    """The modules that any of the adapters changes, in the base's order. Raises UnsupportedAdapter for others."""
    modules = [(name, own) for adapter in adapters for name, own in adapter.modules.items()]
    is_scaled = any(own.magnitude is not None for _, own in modules)
    return sites_named(base, {name for name, _ in modules}, is_scaled)


def sites_named(base: nn.Module, names: Iterable[str], is_scaled: bool = False) -> tuple[Site, ...]:
    """The linear modules of these full names, in the base's order. Raises UnsupportedAdapter where one is none."""
    wanted = set(names)
    found = tuple(
        _site(name, module, is_scaled)
        for name, module in base.named_modules()
        if name in wanted and isinstance(module, nn.Linear | Conv1D)
    )
    missing = wanted - {site.name for site in found}
    if missing:
        raise UnsupportedAdapter(f"the base has no linear module {min(missing)!r} ({len(missing)} in all)")
    return found


def _site(name: str, module: nn.Linear | Conv1D, is_scaled: bool) -> Site:
    if isinstance(module, nn.Linear):
        return Site(name, module.in_features, module.out_features, is_scaled)
    return Site(name, int(module.nx), int(module.nf), is_scaled)
