"""What a composed adapter is made of, as resolved: a method, its numbers, and weighted adapters.

Equal values give equal weights, so their digest names the adapter, whatever it is called and whatever order its terms
were written in. Methods are of dense updates ΔW = scaling * B A of each module: sums as in Ilharco et al. 2023, TIES as
in Yadav et al. 2023, DARE as in Yu et al. 2024, Arrow as in Ostapenko et al. 2024. Those called `factors` are of
A and B apart, as some papers and PEFT have it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from study.identity import deciding, digest

Method = Literal[
    "sum", "svd", "ties", "dare", "dare_ties", "factors", "factors_b", "factors_peft", "factors_peft_ties", "arrow"
]
Rank = int | Literal["full"]
Trim = Literal["adapter", "module"]
COMPOSITION_VERSION = 1  # raise when the arithmetic changes
ROUNDING = 1e-12  # of a sum of weights, by the sum of their sizes


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
        kept = deciding("composition", values)
        return digest({"kind": "composition", "version": COMPOSITION_VERSION, **kept})


def gathered(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Terms as a composition has them: by adapter_id, those of one adapter added up, none that counts nothing."""
    found: dict[str, list[Term]] = {}
    for term in terms:
        found.setdefault(term.adapter_id, []).append(term)
    return tuple(sorted(one for alike in found.values() if not (one := _added(alike)).is_nothing))


def _added(terms: Sequence[Term]) -> Term:
    first, *others = terms
    if not others:
        return first
    if not any(term.layers or term.outside != first.outside for term in terms):
        return replace(first, weight=_sum(term.weight for term in terms))
    count = max(len(term.layers) for term in terms)
    layers = zip(*(_in_layers(term, count) for term in terms), strict=True)
    outside = _sum(term.weight * term.outside for term in terms)
    return Term(first.adapter_id, 1.0, tuple(map(_sum, layers)), outside)


def _sum(weights: Iterable[float]) -> float:
    """The same in any order, and nothing where they cancel out but for their rounding (0.1 + 0.2 - 0.3)."""
    some = list(weights)
    total = math.fsum(some)
    return total if abs(total) > ROUNDING * math.fsum(map(abs, some)) else 0.0


def _in_layers(term: Term, count: int) -> tuple[float, ...]:
    return tuple(term.weight * one for one in (term.layers or (1.0,) * count))
