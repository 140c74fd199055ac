"""How the parts of a composition lie to one another, and how large their composition is.

Norms and cosines come from factors, never from dense updates: ⟨ΔW_i, ΔW_j⟩ = s_i s_j Σ (B_iᵀB_j) ∘ (A_iA_jᵀ), in
float64. Signs need entries: of each module a grid of every k-th row and column is taken, k odd so that it does not fall
in with the width of heads, of at most GRID rows and columns; a smaller module is taken whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import torch

from adapters.composing.shares import modules_of
from adapters.composing.update import Update, relative
from adapters.folders.folder import AdapterWeights, Factors
from study.store.composed import Pair

GRID = 64


@dataclass(frozen=True)
class Geometry:
    """‖ΔW‖ of a composition (Frobenius, over all modules), its relative truncation error in all and by module, its
    largest rank, and its pairs of parts."""

    norm: float
    truncation: float
    truncations: Mapping[str, float]
    rank: int
    pairs: tuple[Pair, ...]


def geometry(updates: Mapping[str, Update], parts: Sequence[AdapterWeights]) -> Geometry:
    """Of a composition's updates by module, and of its parts in the order of its terms."""
    squared = sum(update.squared for update in updates.values())
    return Geometry(
        norm=squared**0.5,
        truncation=relative(sum(update.lost for update in updates.values()), squared),
        truncations={name: update.truncation for name, update in updates.items()},
        rank=max((len(update.factors.a) for update in updates.values()), default=0),
        pairs=pairs(parts),
    )


def pairs(parts: Sequence[AdapterWeights]) -> tuple[Pair, ...]:
    """Of all parts, each with each."""
    products = torch.zeros(len(parts), len(parts), dtype=torch.float64)
    both, agreed = torch.zeros_like(products), torch.zeros_like(products)
    for found in _alike(parts) if len(parts) > 1 else ():
        products += _products(found)
        if len(parts) - found.count(None) > 1:
            signs = _signs(found)
            both += signs.abs() @ signs.abs().T
            agreed += signs @ signs.T
    norms = products.diagonal().clamp(min=0).sqrt()
    cosines = products / (norms[:, None] * norms).where((norms[:, None] * norms) > 0, 1.0)
    conflicts = (both - agreed) / (2 * both).where(both > 0, 1.0)
    return tuple(
        Pair(i, j, float(cosines[i, j]), _ratio(float(norms[i]), float(norms[j])), float(conflicts[i, j]))
        for i, j in combinations(range(len(parts)), 2)
    )


def _ratio(one: float, other: float) -> float:
    return min(one, other) / max(one, other) if max(one, other) else 1.0


@dataclass(frozen=True)
class _Stack:
    """What a part has for modules of one shape: a [M, r, in], and b [M, out, r] with the scaling in it."""

    a: torch.Tensor
    b: torch.Tensor


def _alike(parts: Sequence[AdapterWeights]) -> Iterator[list[_Stack | None]]:
    """Modules of the same shapes in all parts together: a part's stack, or None where it lacks them."""
    groups: dict[object, list[list[Factors | None]]] = {}
    for name in modules_of(parts):
        found = [part.modules.get(name) for part in parts]
        key = tuple(None if own is None else (own.a.shape, own.b.shape, own.a.dtype) for own in found)
        groups.setdefault(key, []).append(found)
    for group in groups.values():
        yield [None if own[0] is None else _stacked(own) for own in zip(*group, strict=True)]


def _stacked(own: Sequence[Factors | None]) -> _Stack:
    found = [factors for factors in own if factors is not None]
    scalings = torch.tensor([factors.scaling for factors in found])
    b = torch.stack([factors.b for factors in found]).float() * scalings[:, None, None]
    return _Stack(torch.stack([factors.a for factors in found]).float(), b)


def _products(found: Sequence[_Stack | None]) -> torch.Tensor:
    """⟨ΔW_i, ΔW_j⟩ [N, N] summed over modules; those of parts without them are 0."""
    own = [stack for stack in found if stack is not None]
    a, b = torch.cat([stack.a for stack in own], 1).double(), torch.cat([stack.b for stack in own], 2).double()
    owner = _owner(tuple(0 if stack is None else stack.a.shape[1] for stack in found))
    return owner @ ((a @ a.mT) * (b.mT @ b)).sum(0) @ owner.T


@lru_cache(256)
def _owner(ranks: tuple[int, ...]) -> torch.Tensor:
    """Which rows of the joined factors are whose: [N, Σr], of ones and zeros."""
    return torch.eye(len(ranks), dtype=torch.float64).repeat_interleave(torch.tensor(ranks), 1)


def _signs(found: Sequence[_Stack | None]) -> torch.Tensor:
    """The signs [N, E] of the grids' entries, so weighted that their products count all entries of the modules."""
    count, _, fan_in, fan_out = next((*own.a.shape, own.b.shape[1]) for own in found if own is not None)
    down, along = _step(fan_out), _step(fan_in)
    shape = (len(range(0, fan_out, down)), len(range(0, fan_in, along)))
    signs = torch.zeros(len(found), count, *shape)
    for number, own in enumerate(found):
        if own is not None:
            torch.bmm(own.b[:, ::down], own.a[:, :, ::along], out=signs[number])
    return signs.sign_().mul_((fan_out * fan_in / (shape[0] * shape[1])) ** 0.5).flatten(1)


def _step(size: int) -> int:
    """The least odd step that leaves at most GRID."""
    return -(-size // GRID) | 1 if size > GRID else 1
