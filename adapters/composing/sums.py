"""`sum` and `svd`: Σ w_i ΔW_i, exact by joining the factors, or its best approximation of a rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from adapters.composing.shares import Share, modules_of, shape_of, shares
from adapters.composing.update import Update, cut, nothing, of_factors
from adapters.folders.folder import AdapterWeights
from study.composition import Composition


def exact(composition: Composition, parts: Sequence[AdapterWeights]) -> Iterator[tuple[str, Update]]:
    """A' = [A_1; …; A_n], B' = [w_1 s_1 B_1, …, w_n s_n B_n]; a rank above min(out, in) is brought down to it."""
    for name in modules_of(parts):
        fan_out, fan_in = shape_of(parts, name)
        found, most = shares(composition.terms, parts, name), min(fan_out, fan_in)
        if not found:
            yield name, nothing(fan_out, fan_in)
            continue
        a, b = joined(found)
        yield name, of_factors(a, b) if len(a) <= most else cut(a, b, most)


def best(composition: Composition, parts: Sequence[AdapterWeights]) -> Iterator[tuple[str, Update]]:
    """The same cut to the composition's rank, by the singular value decomposition."""
    assert isinstance(composition.rank, int)
    for name in modules_of(parts):
        fan_out, fan_in = shape_of(parts, name)
        found = shares(composition.terms, parts, name)
        rank = min(composition.rank, fan_out, fan_in)
        yield name, cut(*joined(found), rank) if found else nothing(fan_out, fan_in)


def joined(found: Sequence[Share]) -> tuple[torch.Tensor, torch.Tensor]:
    """A' [Σr, in] and B' [out, Σr], whose product is the sum."""
    return torch.cat([share.right for share in found]), torch.cat([share.left for share in found], 1)
