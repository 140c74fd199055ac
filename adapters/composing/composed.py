"""A composition of trained adapters as an adapter of its own: factors from factors (COMPOSITIONS).

Invariants: it is a function of the composition and of its parts' matrices; float32 throughout; scaling 1. Every module
that a part adapts is in it, one that no term changes with zeros of rank 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from adapters.composing import elections, factorwise, sums
from adapters.composing.geometry import Geometry, geometry
from adapters.composing.update import Update
from adapters.folders.folder import AdapterWeights
from study.composition import Composition

_METHODS: Mapping[str, Callable[[Composition, Sequence[AdapterWeights]], Iterator[tuple[str, Update]]]] = {
    "sum": sums.exact,
    "svd": sums.best,
    "ties": elections.ties,
    "dare": elections.dare,
    "dare_ties": elections.dare_ties,
    "factors": factorwise.factors,
    "factors_b": factorwise.factors_b,
    "factors_peft": factorwise.factors_peft,
    "factors_peft_ties": factorwise.factors_peft_ties,
}  # `arrow` mixes for each token anew: no matrices are that (adapters.composing.arrow)


@dataclass(frozen=True)
class Composed:
    """An adapter, and what is known of it."""

    weights: AdapterWeights
    geometry: Geometry


@torch.no_grad()
def compose(composition: Composition, parts: Sequence[AdapterWeights]) -> Composed:
    """Compose parts, which come in the order of the composition's terms. Raises UnsupportedAdapter."""
    updates = dict(_METHODS[composition.method](composition, parts))
    weights = AdapterWeights({name: update.factors for name, update in updates.items()})
    return Composed(weights, geometry(updates, parts))
