"""`ties`, `dare` and `dare_ties` (2306.01708, 2311.03099): on dense updates in float32, one module at a time.

Weights come before the election, as in mergekit. A sum of 0 elects the positive sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from adapters.bank.dropout import mask
from adapters.composing.shares import Share, modules_of, shape_of, shares
from adapters.composing.trimming import Trimmer
from adapters.composing.update import Update, cut_dense, nothing, of_dense
from adapters.folders.folder import AdapterWeights
from study.composition import Composition, Term
from study.identity import digest


def ties(composition: Composition, parts: Sequence[AdapterWeights]) -> Iterator[tuple[str, Update]]:
    """scale · the mean of what is left of w_i ΔW_i after trimming and has the elected sign."""
    of_adapter: dict[Term, Trimmer] = {}
    if composition.trim == "adapter":
        for term, part in zip(composition.terms, parts, strict=True):
            of_adapter[term] = _trimmer(composition, term, part)

    def sparse(share: Share, _module: str) -> torch.Tensor:
        x = share.dense
        trimmer = of_adapter.get(share.term) or Trimmer(lambda: [x], _density(composition))
        return trimmer(x)

    return _each(composition, parts, sparse, lambda xs: composition.scale * elected(xs))


def dare(composition: Composition, parts: Sequence[AdapterWeights]) -> Iterator[tuple[str, Update]]:
    """Σ w_i (m_i ⊙ ΔW_i) / ρ."""
    return _each(composition, parts, _dropping(composition), lambda xs: torch.stack(xs).sum(0))


def dare_ties(composition: Composition, parts: Sequence[AdapterWeights]) -> Iterator[tuple[str, Update]]:
    """`ties` of w_i (m_i ⊙ ΔW_i) / ρ, untrimmed."""
    return _each(composition, parts, _dropping(composition), lambda xs: composition.scale * elected(xs))


def elected(xs: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean of those numbers that are not 0 and have the sign of their sum."""
    stack = torch.stack(list(xs))
    chosen = torch.where(stack.sum(0) >= 0, stack.clamp(min=0), stack.clamp(max=0))
    return chosen.sum(0) / (chosen != 0).sum(0).clamp(min=1)


def keeps(draw: int, adapter_id: str, module: str, shape: torch.Size, density: float) -> torch.Tensor:
    """DARE's mask of a module's update: bool [out, in], the project's keyed dropout mask."""
    key = int(digest({"dare": draw, "adapter": adapter_id, "module": module}), 16)
    signed = torch.tensor([key - (1 << 64) if key >> 63 else key])
    return mask(signed, shape[0], shape[1], 1 - density)[0]


def _each(
    composition: Composition,
    parts: Sequence[AdapterWeights],
    sparse: Callable[[Share, str], torch.Tensor],
    merged: Callable[[list[torch.Tensor]], torch.Tensor],
) -> Iterator[tuple[str, Update]]:
    for name in modules_of(parts):
        fan_out, fan_in = shape_of(parts, name)
        found = shares(composition.terms, parts, name)
        if not found:
            yield name, nothing(fan_out, fan_in)
            continue
        x = merged([sparse(share, name) for share in found])
        if isinstance(composition.rank, int) and composition.rank < min(x.shape):
            yield name, cut_dense(x, composition.rank)
        else:
            yield name, of_dense(x)


def _trimmer(composition: Composition, term: Term, part: AdapterWeights) -> Trimmer:
    """Of all modules of a term, in the order of their names. Those without a weight count as zeros."""

    def matrices() -> Iterator[torch.Tensor]:
        for name in modules_of([part]):
            found = shares([term], [part], name)
            yield found[0].dense if found else torch.zeros(shape_of([part], name))

    return Trimmer(matrices, _density(composition))


def _dropping(composition: Composition) -> Callable[[Share, str], torch.Tensor]:
    density = _density(composition)

    def sparse(share: Share, module: str) -> torch.Tensor:
        x = share.dense
        return x * keeps(composition.draw, share.term.adapter_id, module, x.shape, density) / density

    return sparse


def _density(composition: Composition) -> float:
    assert composition.density is not None
    return composition.density
