"""What a composed adapter is made of, as resolved: a method, its numbers, and weighted adapters.

Equal values give equal weights, so their digest names the adapter, whatever it is called and whatever order its terms
were written in. Methods are of dense updates ΔW = scaling * B A of each module: sums as in Ilharco et al. 2023, TIES as
in Yadav et al. 2023, DARE as in Yu et al. 2024, Arrow as in Ostapenko et al. 2024. Those called `factors` are of
A and B apart, as some papers and PEFT have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Literal

from study.identity import digest

Method = Literal[
    "sum", "svd", "ties", "dare", "dare_ties", "factors", "factors_b", "factors_peft", "factors_peft_ties", "arrow"
]
Rank = int | Literal["full"]
Trim = Literal["adapter", "module"]
COMPOSITION_VERSION = 1  # raise when the arithmetic changes


@dataclass(frozen=True, order=True)
class Term:
    """An adapter and what its update counts.

    That is `weight * layers[i]` in decoder layer i, or `weight` where there are no `layers`; and `weight * outside` in
    a module outside the layers.
    """

    adapter_id: str
    weight: float = 1.0
    layers: tuple[float, ...] = ()
    outside: float = 1.0

    @property
    def is_nothing(self) -> bool:
        return self.weight == 0 or (bool(self.layers) and not any(self.layers) and self.outside == 0)


@dataclass(frozen=True)
class Search:
    """A search of the terms' weights on so many `examples` of a cell, which `digest` names (Huang et al. 2023)."""

    cell: str
    digest: str
    examples: int
    budget: int
    bound: float
    l1: float


@dataclass(frozen=True)
class Composition:
    """A method with its parameters, those of other methods at their defaults; terms by adapter_id.

    Where there is a `search` the terms' weights are what it finds.
    """

    method: Method
    terms: tuple[Term, ...]
    rank: Rank | None = None
    density: float | None = None
    scale: float = 1.0
    draw: int = 0
    trim: Trim = "adapter"
    top_k: int | None = None
    temperature: float | None = None
    search: Search | None = None

    @property
    def identity(self) -> str:
        """The adapter_id: parts' ids hold model and seed."""
        values = asdict(self)
        values["terms"] = [list(term.values()) for term in values["terms"]]
        if self.search is None:
            del values["search"]
        return digest({"kind": "composition", "version": COMPOSITION_VERSION, **values})


def gathered(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Terms as a composition has them: by adapter_id, those of one adapter added up, none that counts nothing."""
    found: dict[str, Term] = {}
    for term in terms:
        other = found.get(term.adapter_id)
        found[term.adapter_id] = term if other is None else _added(other, term)
    return tuple(sorted(term for term in found.values() if not term.is_nothing))


def _added(one: Term, other: Term) -> Term:
    if not one.layers and not other.layers and one.outside == other.outside:
        return replace(one, weight=one.weight + other.weight)
    count = max(len(one.layers), len(other.layers))
    pairs = zip(_in_layers(one, count), _in_layers(other, count), strict=True)
    outside = one.weight * one.outside + other.weight * other.outside
    return Term(one.adapter_id, 1.0, tuple(a + b for a, b in pairs), outside)


def _in_layers(term: Term, count: int) -> tuple[float, ...]:
    return tuple(term.weight * one for one in (term.layers or (1.0,) * count))
