"""What each term of a composition brings to a module: a weight, and the low-rank update ΔW = scaling · B A of its part.

Invariant: parts come in the order of the terms, which are sorted by adapter_id; so nothing here hangs on the order in
which a composition was written down.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from adapters.folders.folder import AdapterWeights, Factors, UnsupportedAdapter
from study.composition import Term

_NUMBERED = re.compile(r"(.*?)(?:^|\.)(\d+)(?:\.|$)")
_BESIDE = ("vision", "visual", "image", "audio", "proj", "embed")  # in the names of lists that are no decoder's


@dataclass(frozen=True)
class Share:
    """Of one term in one module; `weight` is no zero."""

    term: Term
    weight: float
    factors: Factors

    @property
    def left(self) -> torch.Tensor:
        """weight · scaling · B [out, r], float32."""
        return self.factors.b.float() * (self.weight * self.factors.scaling)

    @property
    def right(self) -> torch.Tensor:
        """A [r, in], float32."""
        return self.factors.a.float()

    @property
    def dense(self) -> torch.Tensor:
        """weight · ΔW [out, in], float32."""
        return self.left @ self.right


def modules_of(parts: Sequence[AdapterWeights]) -> list[str]:
    """The modules that any part adapts, by their names."""
    return sorted({name for part in parts for name in part.modules})


def shares(terms: Sequence[Term], parts: Sequence[AdapterWeights], module: str) -> list[Share]:
    """Of the terms whose parts adapt a module and have a weight there. Raises UnsupportedAdapter."""
    found = [
        Share(term, weight_in(term, module), part.modules[module])
        for term, part in zip(terms, parts, strict=True)
        if module in part.modules
    ]
    return [share for share in found if share.weight != 0]


def shape_of(parts: Sequence[AdapterWeights], module: str) -> tuple[int, int]:
    """Outputs and inputs of a module. Raises UnsupportedAdapter where the parts are of several shapes."""
    known = [part.modules[module] for part in parts if module in part.modules]
    found = {(own.b.shape[0], own.a.shape[1]) for own in known}
    if len(found) > 1:
        raise UnsupportedAdapter(f"{module} is of several shapes {sorted(found)}: the parts are of several models")
    return found.pop()


def weight_in(term: Term, module: str) -> float:
    """A term's weight in a module. Raises UnsupportedAdapter for a layer that the term knows nothing of."""
    layer = layer_of(module)
    if layer is None:
        return term.weight * term.outside
    if not term.layers:
        return term.weight
    if layer >= len(term.layers):
        raise UnsupportedAdapter(f"{module} is in layer {layer}, and the term has weights of {len(term.layers)} layers")
    return term.weight * term.layers[layer]


def layer_of(module: str) -> int | None:
    """The decoder layer that a module is in, counted from 0: the first of its names that is a number.

    Whatever the list of layers is called; the numbers of experts and the like stand behind. None outside the layers, as
    in towers for images and sound and in lists of projections, which have numbers of their own.
    """
    found = _NUMBERED.match(module)
    return None if found is None or any(word in found[1] for word in _BESIDE) else int(found[2])
