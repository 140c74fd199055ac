"""Arithmetic on A and B apart, as papers and PEFT have it: bilinear, so that B'A' is not the sum of the B_i A_i.

`factors` (2311.09344): A' = Σ w_i A_i, B' = Σ w_i B_i; a term of weight −1 alone is *added*. `factors_b` (Zhang et al.
2023): |w_i| in A'. `factors_peft` and `factors_peft_ties` are PEFT's `linear` and `ties`, by PEFT's own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from peft.utils import merge_utils

from adapters.composing.shares import Share, modules_of, shape_of, shares
from adapters.composing.update import Update, nothing, of_factors
from adapters.folders.folder import AdapterWeights, UnsupportedAdapter
from study.composition import Composition

Pair = tuple[torch.Tensor, torch.Tensor]
"""A' and B' of a module."""


def factors(composition: Composition, parts: Sequence[AdapterWeights]) -> Iterator[tuple[str, Update]]:
    """A' = Σ w_i A_i, B' = s Σ w_i B_i."""
    return _each(composition, parts, lambda found: _linear(found, [share.weight for share in found]))


def factors_b(composition: Composition, parts: Sequence[AdapterWeights]) -> Iterator[tuple[str, Update]]:
    """A' = Σ |w_i| A_i, B' = s Σ w_i B_i."""
    return _each(composition, parts, lambda found: _linear(found, [abs(share.weight) for share in found]))


def factors_peft(composition: Composition, parts: Sequence[AdapterWeights]) -> Iterator[tuple[str, Update]]:
    """A' = Σ sign(w_i s_i) √|w_i s_i| A_i, B' = Σ √|w_i s_i| B_i."""
    return _each(composition, parts, lambda found: _peft(found, merge_utils.task_arithmetic))


def factors_peft_ties(composition: Composition, parts: Sequence[AdapterWeights]) -> Iterator[tuple[str, Update]]:
    """PEFT's TIES, on A and B apart, with signs elected before weights; of one term alone it is `linear`."""
    density = composition.density
    assert density is not None
    if len(composition.terms) == 1:
        return factors_peft(composition, parts)

    def merged(tensors: list[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
        if density >= 1:  # PEFT warns of it for each matrix and trims nothing
            kept = torch.stack(tensors)
            weighted = kept * merge_utils.reshape_weight_task_tensors(kept, weights)
            return merge_utils.disjoint_merge(weighted, merge_utils.calculate_majority_sign_mask(kept))
        return merge_utils.ties(tensors, weights, density)

    return _each(composition, parts, lambda found: _peft(found, merged))


def _each(
    composition: Composition, parts: Sequence[AdapterWeights], merged: Callable[[Sequence[Share]], Pair]
) -> Iterator[tuple[str, Update]]:
    for name in modules_of(parts):
        found = shares(composition.terms, parts, name)
        _check("rank", name, found, [len(share.right) for share in found])
        if composition.method in ("factors", "factors_b"):
            _check("scaling", name, found, [share.factors.scaling for share in found])
        yield name, of_factors(*merged(found)) if found else nothing(*shape_of(parts, name))


def _check(what: str, module: str, found: Sequence[Share], values: Sequence[float]) -> None:
    """Raise UnsupportedAdapter where the parts have several values."""
    if len(set(values)) > 1:
        told = ", ".join(f"{value:g} in {share.term.adapter_id}" for share, value in zip(found, values, strict=True))
        raise UnsupportedAdapter(f"{module}: its {what} is {told}; arithmetic on A and B apart needs one. Use `sum`")


def _linear(found: Sequence[Share], weights_of_a: Sequence[float]) -> Pair:
    a = torch.stack([weight * share.right for weight, share in zip(weights_of_a, found, strict=True)]).sum(0)
    return a, torch.stack([share.left for share in found]).sum(0)


def _peft(found: Sequence[Share], merged: Callable[[list[torch.Tensor], torch.Tensor], torch.Tensor]) -> Pair:
    scaled = torch.tensor([share.weight * share.factors.scaling for share in found])
    root = scaled.abs().sqrt()
    a = merged([share.right for share in found], torch.where(scaled < 0, -root, root))
    return a, merged([share.factors.b.float() for share in found], root)
