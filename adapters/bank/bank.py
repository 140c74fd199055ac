"""K adapters on one frozen base: rows of a batch belong to adapters, the base runs once over all of them.

The adapters are the rows of one sheet [K, P]: a row holds A [r, in] and B [out, r] of every adapted module, one after
the other, filled up with zeros where an adapter has a smaller rank or leaves a module out, so that the product is
exact. Each adapted module of the base gets a forward hook that adds scaling * B A x, as a batched GEMM over runs of
rows of one adapter, and, where adapters have magnitudes (DoRA), scales what comes out. The base's own modules and
weights stay as they are.

Invariant: what a row computes depends on its own adapter and on nothing else in the batch, NaN included; its gradient
reaches its own adapter's row of the sheet alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

import torch
from torch import nn

from adapters.bank.dropout import Dropout
from adapters.bank.magnitudes import Magnitudes
from adapters.bank.norms import squared_norms
from adapters.bank.products import Rows
from adapters.folders.folder import AdapterWeights, Factors, UnsupportedAdapter
from adapters.folders.sites import Site, sites_of
from adapters.quantising.weights import is_quantised


class LoraBank(nn.Module):
    """K slots for adapters, hooked into a base. A caller names each row's slot with `rows`; without it a pass raises.

    To train, `sheet.requires_grad_()`; to score, `put` adapters in slots. `detach` takes the hooks off.
    """

    def __init__(
        self,
        base: nn.Module,
        sites: Sequence[Site],
        rank: int,
        slots: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        super().__init__()
        self.sites, self.rank, self.slots = tuple(sites), rank, slots
        self._sizes = [math.prod(shape) for site in sites for shape in site.shapes(rank)]
        sheet = torch.zeros(slots, sum(self._sizes), dtype=dtype, device=device)
        self.sheet = nn.Parameter(sheet, requires_grad=False)
        self._scalings = {site.name: [0.0] * slots for site in sites}
        self._ranks = {site.name: [0] * slots for site in sites}
        self._rows: Rows | None = None
        self._dropout: Dropout | None = None
        self._stacks: dict[str, tuple[torch.Tensor, ...]] = {}
        self._beside: dict[str, Factors] = {}
        modules = dict(base.named_modules())
        self._magnitudes = {site.name: Magnitudes(modules[site.name]) for site in sites if site.is_scaled}
        self._handles = [
            modules[site.name].register_forward_hook(_Hook(self, number, site)) for number, site in enumerate(sites)
        ]

    @property
    def device(self) -> torch.device:
        return self.sheet.device

    def forward(self) -> dict[str, tuple[torch.Tensor, ...]]:
        """A [K, r, in], B [K, out, r] and any magnitude [K, out] of every module: views of the sheet.

        Its gradient comes back in one piece.
        """
        parts = iter(torch.split_with_sizes(self.sheet, self._sizes, dim=1))
        return {
            site.name: tuple(next(parts).view(self.slots, *shape) for shape in site.shapes(self.rank))
            for site in self.sites
        }

    def squared_norms(self) -> torch.Tensor:
        """‖ΔW‖² of what is in each slot, summed over modules: [K] float32. Magnitudes are left out of it."""
        pairs = []
        for name, (a, b, *_) in self().items():
            if (beside := self._beside.get(name)) is not None:
                a0, b0 = (one.to(a.dtype).expand(self.slots, -1, -1) for one in (beside.a, beside.b))
                a, b = torch.cat([a, a0], 1), torch.cat([b, b0], 2)
            pairs.append((a, b))
        return squared_norms(pairs, list(self._scalings.values()))

    def lengths(self) -> dict[str, torch.Tensor]:
        """Of the modules that have magnitudes the lengths of their own matrices' rows: with these, nothing changes."""
        return {name: own.begin() for name, own in self._magnitudes.items()}

    def put_beside(self, fixed: Mapping[str, Factors]) -> None:
        """Add fixed products to the modules of these names, for the rows of all slots alike, by the slots' scalings."""
        self._beside = dict(fixed)

    @contextmanager
    def rows(self, slots: Sequence[int | None], dropout: Dropout | None = None) -> Iterator[None]:
        """Within, row i of every batch belongs to slot `slots[i]`; None leaves it to the base alone.

        Runs of equal slots are faster than a mix. Also for generation, as long as rows keep their places.
        """
        if not all(slot is None or 0 <= slot < self.slots for slot in slots):
            raise IndexError(f"slots {sorted({s for s in slots if s is not None})} of a bank of {self.slots}")
        with self._as(Rows(slots, self.slots, self.device), dropout, self()):
            yield

    def again(self) -> AbstractContextManager[None]:
        """What is said by `rows` now, to be said once more: for what is computed again in a backward pass."""
        return self._as(self._rows, self._dropout, self._stacks)

    @contextmanager
    def _as(
        self, rows: Rows | None, dropout: Dropout | None, stacks: dict[str, tuple[torch.Tensor, ...]]
    ) -> Iterator[None]:
        before = self._rows, self._dropout, self._stacks
        self._rows, self._dropout, self._stacks = rows, dropout, stacks
        try:
            yield
        finally:
            self._rows, self._dropout, self._stacks = before

    def lacks(self, adapter: AdapterWeights) -> str | None:
        """Why an adapter has no room in this bank (another module, a larger rank); None if it has."""
        foreign = adapter.modules.keys() - {site.name for site in self.sites}
        if foreign:
            return f"it adapts {min(foreign)}, which this bank does not"
        return f"its rank {adapter.rank} is over the bank's {self.rank}" if adapter.rank > self.rank else None

    @torch.no_grad()
    def put(self, slot: int, adapter: AdapterWeights) -> None:
        """Put an adapter into a slot, in place of what was there. Raises UnsupportedAdapter where it does not fit."""
        reason = self.lacks(adapter)
        if reason:
            raise UnsupportedAdapter(f"the adapter does not fit the bank: {reason}")
        row = torch.zeros(self.sheet.shape[1], dtype=self.sheet.dtype)
        for site, (a, b, *magnitude) in self._cut(row):
            factors = adapter.modules.get(site.name)
            self._scalings[site.name][slot] = factors.scaling if factors else 0.0
            self._ranks[site.name][slot] = len(factors.a) if factors else 0
            if factors:
                if factors.a.shape[1] != site.fan_in or factors.b.shape[0] != site.fan_out:
                    raise UnsupportedAdapter(f"{site.name}: the adapter was made for a module of another shape")
                a[: len(factors.a)] = factors.a
                b[:, : len(factors.a)] = factors.b
                for own in magnitude:
                    own.copy_(factors.magnitude)  # type: ignore[arg-type]  # all modules have one, or none
        self.sheet[slot] = row.to(self.device)

    def get(self, slot: int, sheet: torch.Tensor | None = None) -> AdapterWeights:
        """Copies on the CPU of what is in a slot, or in that row of a copy of the sheet."""
        row = (self.sheet if sheet is None else sheet)[slot].detach().to("cpu", copy=True)
        modules = {}
        for site, (a, b, *magnitude) in self._cut(row):
            rank = self._ranks[site.name][slot]
            if rank:
                scaling = self._scalings[site.name][slot]
                modules[site.name] = Factors(a[:rank].contiguous(), b[:, :rank].contiguous(), scaling, *magnitude)
        return AdapterWeights(modules)

    def detach(self) -> None:
        """Take the hooks off the base."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _cut(self, row: torch.Tensor) -> Iterator[tuple[Site, list[torch.Tensor]]]:
        """Views of a sheet's row: each module with its A, B and any magnitude."""
        parts = iter(torch.split_with_sizes(row, self._sizes))
        for site in self.sites:
            yield site, [next(parts).view(shape) for shape in site.shapes(self.rank)]

    def add_to(self, y: torch.Tensor, x: torch.Tensor, number: int, site: Site) -> torch.Tensor:
        """y + scaling * B A x for a module's output y and input x.

        They are [B, …, out] and [B, …, in], or [B * T, out] and [B * T, in] with row after row: some modules (a shared
        expert, a router) see the tokens of all rows as one list. Raises UnsupportedAdapter for a part of such a list:
        whose rows they are cannot be known.
        """
        rows = self._rows
        if rows is None:
            raise RuntimeError("the base has a bank of adapters on it: say whose rows these are with bank.rows(...)")
        if not rows.used:
            return y
        if not len(x):
            return y
        if len(x) % rows.count or (x.dim() > 2 and len(x) != rows.count):
            raise UnsupportedAdapter(
                f"{site.name} got an input of shape {tuple(x.shape)} for a batch of {rows.count} rows: "
                "a module that sees its tokens without their rows cannot serve several adapters at once"
            )
        x_BTI, y_BTO = (tensor.reshape(rows.count, -1, tensor.shape[-1]) for tensor in (x, y))
        (a, b, *magnitude), scalings = self._stacks[site.name], self._scalings[site.name]
        if (beside := self._beside.get(site.name)) is not None:
            a0, b0 = (one.to(a.dtype).expand(self.slots, -1, -1) for one in (beside.a, beside.b))
            y_BTO = rows.add_product(y_BTO, x_BTI, a0, b0, scalings)
        dropped_BTI = x_BTI if self._dropout is None else self._dropout(x_BTI, number)
        if not magnitude:
            return rows.add_product(y_BTO, dropped_BTI, a, b, scalings).view(y.shape)
        own, read = self._magnitudes[site.name], None if self._dropout is None else dropped_BTI
        product = partial(rows.add_product, x_BTI=dropped_BTI, a_KRI=a, b_KOR=b, scalings=scalings)
        scaled = partial(rows.scaled, own.scale(magnitude[0], a, b, scalings))
        return own.applied(y_BTO, read, product, scaled).view(y.shape)


class _Hook:
    """Forward hook of one module."""

    def __init__(self, bank: LoraBank, number: int, site: Site) -> None:
        self._bank, self._number, self._site = bank, number, site

    def __call__(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and is_quantised(module) and output._is_view():
            output = output.clone()  # a view that bitsandbytes' own function has made is not to be written to
        return self._bank.add_to(output, inputs[0].to(output.device), self._number, self._site)


class Banks:
    """The banks of a base that lies on several devices, one on each: whose a row is, all are told."""

    def __init__(self, banks: Sequence[LoraBank]) -> None:
        self._banks = banks

    @contextmanager
    def rows(self, slots: Sequence[int | None]) -> Iterator[None]:
        with ExitStack() as within:
            for bank in self._banks:
                within.enter_context(bank.rows(slots))
            yield

    def detach(self) -> None:
        for bank in self._banks:
            bank.detach()


def for_adapters(
    base: nn.Module, adapters: Mapping[int, AdapterWeights], slots: int, dtype: torch.dtype
) -> LoraBank | Banks:
    """A bank with room for these adapters, each in its slot. Raises UnsupportedAdapter where one does not fit."""
    rank = max(adapter.rank for adapter in adapters.values())
    places: dict[torch.device, list[Site]] = {}
    for site in sites_of(base, adapters.values()):
        places.setdefault(base.get_parameter(f"{site.name}.weight").device, []).append(site)
    banks = [LoraBank(base, sites, rank, slots, dtype, device) for device, sites in places.items()]
    for bank in banks:
        names = {site.name for site in bank.sites}
        for slot, adapter in adapters.items():
            bank.put(slot, AdapterWeights({name: own for name, own in adapter.modules.items() if name in names}))
    return banks[0] if len(banks) == 1 else Banks(banks)
