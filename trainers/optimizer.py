"""AdamW over a gang's sheet [K, P], row by row: each adapter has its own learning rate, clipping and end.

The update is torch's AdamW and the clipping torch's `clip_grad_norm_`, per row. A row without a learning rate is frozen
exactly: neither its weights nor its moments change. A row may have slow weights φ that follow its weights θ after some
steps: φ ← θ - (1 - outer rate)·(θ - φ), and θ ← φ (Reptile, Nichol et al. 2018). DeepSpeed hands in the sheet's parts,
or what this process owns of them (`shares`); norms are then added up over the processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TypeAlias

import torch

from adapters.base.device import on_device
from adapters.base.spread import size_of
from trainers.gathered import whole_of
from trainers.shares import Share, dealt

BETAS, EPS = (0.9, 0.999), 1e-8
AT_ONCE = {"cpu": 2**18, "cuda": 2**26}  # numbers that are updated together: what a cache holds; what memory spares
_CLIP_EPS = 1e-6  # as in torch.nn.utils.clip_grad_norm_
_Piece: TypeAlias = tuple[int, int, int, int, int]  # first slot, first column, slots, start in a flat tensor, width


class GangAdamW(torch.optim.Optimizer):
    """Set `rates` (None: frozen) and `number` (1, 2, …: the step they take, the same for all) before each step.

    `pace` [P] is by what each number of a row goes faster than its row's rate, where not all go alike.
    Those in `following` have their slow weights follow after it, if there are any: where `outer_rate` is set. Weight
    decay applies to the first `decayed` numbers of a row.
    """

    outer_rate: float | None = None
    pace: torch.Tensor | None = None
    following: Sequence[int] = ()

    def __init__(
        self,
        parts: Sequence[torch.nn.Parameter],
        weight_decay: float,
        max_norm: float | None,
        rank: int,
        decayed: int,
    ) -> None:
        """`parts` are the sheet, [K, P] where there is one, or one after the other a row of it (K is 1)."""
        self._parts, self._decayed = list(parts), decayed
        self.slots = len(parts[0]) if len(parts) == 1 else 1
        self.width = sum(map(size_of, parts)) // self.slots
        self.rates: list[float | None] = [None] * self.slots
        self.number = 0
        self._weight_decay, self._max_norm, self._rank, self._device = weight_decay, max_norm, rank, parts[0].device
        self._own: Sequence[torch.Tensor] = self._parts
        self._loaded: torch.Tensor | None = None
        super().__init__(self._parts, {"lr": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self._own = [parameter for group in self.param_groups for parameter in group["params"]]
        for parameter in self._own:
            state: dict[str, torch.Tensor] = self.state[parameter]
            if not state:
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                if self.outer_rate is not None:
                    state["slow"] = parameter.clone()
        if self._loaded is not None:
            self._take(self._loaded)
            self._loaded = None
        if any(rate is not None for rate in self.rates):
            self._update()

    def state_of_all(self) -> torch.Tensor | None:
        """Weights and both moments of all adapters, and slow weights where there are any: [3 or 4, K, P] float32.

        On the CPU of rank 0, each adapter's in one piece, and nowhere else; every process has to ask.
        """
        names, wanted = self._names(), self._rank == 0
        found_KSP = torch.empty(self.slots if wanted else 0, len(names), self.width)
        for number, name in enumerate(names):
            for first, piece in self._wholes(name, wanted):
                if wanted:
                    _put(found_KSP[:, number], first, piece)
        return found_KSP.transpose(0, 1) if wanted else None

    def slow_of_all(self) -> torch.Tensor:
        """The slow weights of all adapters, [K, P] float32 on the CPU; every process has to ask."""
        found_KP = torch.empty(self.slots, self.width)
        for first, piece in self._wholes("slow", True):
            _put(found_KP, first, piece)
        return found_KP

    def load(self, state_SKP: torch.Tensor) -> None:
        """Go on from there, as the next step begins: only then DeepSpeed shows what this process owns."""
        self._loaded = state_SKP

    def _take(self, state_SKP: torch.Tensor) -> None:
        for name, whole_KP in zip(self._names(), state_SKP, strict=True):
            for own, shares in zip(self._tensors(name), self._shares(), strict=True):
                for share in shares:
                    part = whole_KP.reshape(-1)[share.first : share.first + share.count]
                    own[share.begin : share.begin + share.count].copy_(part)

    def _names(self) -> list[str]:
        return ["", "exp_avg", "exp_avg_sq", *(["slow"] if "slow" in self.state[self._own[0]] else [])]

    def _tensors(self, name: str) -> list[torch.Tensor]:
        """What this process has of the weights, or of a state of this name: flat."""
        return [(self.state[own][name] if name else own).detach().view(-1) for own in self._own]

    def _shares(self) -> list[list[Share]]:
        return dealt(self._parts, [own.numel() for own in self._own], self._rank)

    def _wholes(self, name: str, wanted: bool) -> Iterator[tuple[int, torch.Tensor]]:
        """Where in the flat sheet a piece begins, and what all processes have of it; nothing where it is unwanted."""
        for own, shares in zip(self._tensors(name), self._shares(), strict=True):
            for share in shares:
                flat = own[share.begin : share.begin + share.length]
                whole = whole_of(flat, share.size, self._device, wanted) if share.is_part else flat[: share.size]
                yield share.offset, whole

    def _update(self) -> None:
        clips = self._clips()
        rates_K = [rate or 0.0 for rate in self.rates]
        for own, pieces in zip(self._own, self._pieces(), strict=True):
            state = self.state[own]
            tensors = [t.view(-1) for t in (own, _gradient(own), state["exp_avg"], state["exp_avg_sq"])]
            rates = on_device(rates_K, own.device, own.dtype)[:, None]
            for first, column, count, start, width in pieces:
                for slots in _runs(self.rates, first, first + count):
                    begin, those = start + (slots[0] - first) * width, slice(slots[0], slots[-1] + 1)
                    rows = [t[begin : begin + len(slots) * width].view(len(slots), width) for t in tensors]
                    clip = None if clips is None else clips[those, None].to(rows[1])
                    self._adamw(rows, rates[those], clip, column)
            if "slow" in state:
                self._follow(own.view(-1), state["slow"].view(-1), pieces)

    def _follow(self, weights: torch.Tensor, slow: torch.Tensor, pieces: Sequence[_Piece]) -> None:
        """Move the slow weights of `following`, unless these are frozen; the weights go on from there."""
        assert self.outer_rate is not None
        for first, _, count, start, width in pieces:
            for slot in range(first, first + count):
                if slot in self.following and self.rates[slot] is not None:
                    row = slice(start + (slot - first) * width, start + (slot - first + 1) * width)
                    weights[row] -= (1 - self.outer_rate) * (weights[row] - slow[row])
                    slow[row] = weights[row]

    def _adamw(self, rows: list[torch.Tensor], rates: torch.Tensor, clip: torch.Tensor | None, column: int) -> None:
        """Loshchilov and Hutter 2019, algorithm 2, in the order of torch's implementation, some columns at a time.

        The rows begin at a `column` of the sheet's.
        """
        corrections = [1 - beta**self.number for beta in BETAS]
        count, width = rows[0].shape
        some = max(1, AT_ONCE[rows[0].device.type] // count)
        for first in range(0, width, some):
            weights, gradient, mean, square = (row[:, first : first + some] for row in rows)
            if clip is not None:
                gradient = gradient * clip
            own = rates
            if self.pace is not None:
                own = rates * self.pace[column + first : column + first + weights.shape[1]].to(rates)
            if self._weight_decay:
                decayed = max(0, self._decayed - column - first)
                weights[:, :decayed].mul_(1 - (own * self._weight_decay)[:, :decayed])
            mean.lerp_(gradient, 1 - BETAS[0])
            square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            denominator = square.sqrt().div_(corrections[1] ** 0.5).add_(EPS)
            weights.sub_(mean / denominator * (own / corrections[0]))

    def _clips(self) -> torch.Tensor | None:
        """What each adapter's gradient is multiplied by, [K] float32; None where nothing is clipped."""
        if self._max_norm is None:
            return None
        squares = torch.zeros(self.slots, dtype=torch.float32, device=self._own[0].device)
        for own, pieces in zip(self._own, self._pieces(), strict=True):
            gradient = _gradient(own).view(-1)
            for first, _, count, start, width in pieces:
                rows = gradient[start : start + count * width].view(count, width)
                squares[first : first + count] += torch.linalg.vector_norm(rows, dim=1, dtype=torch.float32) ** 2
        if any(share.is_part for shares in self._shares() for share in shares):
            own_device, squares = squares.device, squares.to(self._device)
            torch.distributed.all_reduce(squares)  # an offloaded part lies on the CPU, where NCCL does not reach
            squares = squares.to(own_device)
        return (self._max_norm / (squares.sqrt() + _CLIP_EPS)).clamp_(max=1.0)

    def _pieces(self) -> list[list[_Piece]]:
        """What this process has in each of its flat tensors, row by row."""
        return [[piece for share in shares for piece in _rows(share, self.width)] for shares in self._shares()]


def _rows(share: Share, width: int) -> Iterator[_Piece]:
    position, end = share.first, share.first + share.count
    while position < end:
        slot, within = divmod(position, width)
        whole = (end - position) // width if within == 0 else 0
        own = width if whole else min(width - within, end - position)
        yield slot, within, max(1, whole), share.begin + position - share.first, own
        position += max(1, whole) * own


def _gradient(own: torch.Tensor) -> torch.Tensor:
    """Nothing was computed with weights that have none."""
    return torch.zeros_like(own) if own.grad is None else own.grad


def _put(sheet_KP: torch.Tensor, first: int, piece: torch.Tensor) -> None:
    """Write numbers into a sheet from its `first`-th on: whole rows, or a part of the only one."""
    width = sheet_KP.shape[1]
    if piece.numel() % width == 0:
        sheet_KP.copy_(piece.view(-1, width))
    else:
        sheet_KP[0, first : first + piece.numel()] = piece


def _runs(rates: Sequence[float | None], first: int, end: int) -> Iterator[list[int]]:
    """Runs of neighbouring slots that are not frozen."""
    for active, run in groupby(range(first, end), key=lambda slot: rates[slot] is not None):
        if active:
            yield list(run)
