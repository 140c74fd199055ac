"""AdamW over a gang's sheet [K, P], row by row: each adapter has its own learning rate, clipping and end.

The update is torch's AdamW and the clipping torch's `clip_grad_norm_`, per row. A row without a learning rate is frozen
exactly: neither its weights nor its moments change. A row may have slow weights φ that follow its weights θ after some
steps: φ ← θ - (1 - outer rate)·(θ - φ), and θ ← φ (Reptile, Nichol et al. 2018). DeepSpeed hands in the sheet whole, or
the flat range of it that this process owns (ZeRO, bf16 master weights), padded at the end; norms are then added up over
the processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import torch

from adapters.base.device import on_device
from trainers.gathered import whole_of

BETAS, EPS = (0.9, 0.999), 1e-8
AT_ONCE = {"cpu": 2**18, "cuda": 2**26}  # numbers that are updated together: what a cache holds; what memory spares
_CLIP_EPS = 1e-6  # as in torch.nn.utils.clip_grad_norm_


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
        self, sheet: torch.nn.Parameter, weight_decay: float, max_norm: float | None, rank: int, decayed: int
    ) -> None:
        self._decayed = decayed
        self.slots, self.width = sheet.shape
        self.rates: list[float | None] = [None] * self.slots
        self.number = 0
        self._weight_decay, self._max_norm, self._rank, self._device = weight_decay, max_norm, rank, sheet.device
        self._own: torch.Tensor = sheet
        self._loaded: torch.Tensor | None = None
        super().__init__([sheet], {"lr": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter)

    def state_of_all(self) -> torch.Tensor | None:
        """Weights and both moments of all adapters, and slow weights where there are any: [3 or 4, K, P] float32.

        On the CPU of rank 0, each adapter's in one piece, and nowhere else; every process has to ask.
        """
        tensors, wanted = self._tensors(), self._rank == 0
        found_KSP = torch.empty(self.slots if wanted else 0, len(tensors), self.width)
        for number, tensor in enumerate(tensors):
            whole_KP = self._whole(tensor, wanted)
            if wanted:
                found_KSP[:, number] = whole_KP
        return found_KSP.transpose(0, 1) if wanted else None

    def slow_of_all(self) -> torch.Tensor:
        """The slow weights of all adapters, [K, P] float32 on the CPU; every process has to ask."""
        return self._whole(self.state[self._own]["slow"]).to("cpu", copy=True)

    def load(self, state_SKP: torch.Tensor) -> None:
        """Go on from there, as the next step begins: only then DeepSpeed shows the range that this process owns."""
        self._loaded = state_SKP

    def _take_loaded(self) -> None:
        assert self._loaded is not None
        for tensor, whole_KP in zip(self._tensors(), self._loaded, strict=True):
            own, flat = tensor.view(-1), whole_KP.reshape(-1)
            begin = self._begin(own.numel())
            part = flat[begin : begin + own.numel()]
            own[: part.numel()].copy_(part)
        self._loaded = None

    def _tensors(self) -> list[torch.Tensor]:
        state = self.state[self._own]
        return [self._own, state["exp_avg"], state["exp_avg_sq"], *([state["slow"]] if "slow" in state else [])]

    def _whole(self, own: torch.Tensor, wanted: bool = True) -> torch.Tensor:
        """Of all processes, on the CPU; it is the optimiser's own where that is whole, nothing where it is unwanted."""
        flat, count = own.detach().view(-1), self.slots * self.width
        whole = whole_of(flat, count, self._device, wanted) if self._is_part(flat.numel()) else flat[:count]
        return whole.view(-1, self.width)

    def _update(self, parameter: torch.Tensor) -> None:
        state: dict[str, torch.Tensor] = self.state[parameter]
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            if self.outer_rate is not None:
                state["slow"] = parameter.clone()
        self._own = parameter
        if self._loaded is not None:
            self._take_loaded()
        if all(rate is None for rate in self.rates):
            return
        clips = self._clips(parameter)
        assert parameter.grad is not None
        tensors = [t.view(-1) for t in (parameter, parameter.grad, state["exp_avg"], state["exp_avg_sq"])]
        for first, column, count, start, width in self._pieces(parameter.numel()):
            for slots in _runs(self.rates, first, first + count):
                begin = start + (slots[0] - first) * width
                rows = [t[begin : begin + len(slots) * width].view(len(slots), width) for t in tensors]
                own = [self.rates[slot] or 0.0 for slot in slots]
                rates = on_device(own, parameter.device, parameter.dtype)[:, None]
                clip = None if clips is None else clips[slots[0] : slots[-1] + 1, None]
                self._adamw(rows, rates, clip, column)
        if "slow" in state:
            self._follow(parameter.view(-1), state["slow"].view(-1))

    def _follow(self, weights: torch.Tensor, slow: torch.Tensor) -> None:
        """Move the slow weights of `following`, unless these are frozen; the weights go on from there."""
        assert self.outer_rate is not None
        for first, _, count, start, width in self._pieces(weights.numel()):
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

    def _clips(self, parameter: torch.Tensor) -> torch.Tensor | None:
        """What each adapter's gradient is multiplied by, [K]; None where nothing is clipped."""
        if self._max_norm is None:
            return None
        assert parameter.grad is not None
        gradient = parameter.grad.view(-1)
        squares = torch.zeros(self.slots, dtype=torch.float32, device=parameter.device)
        for first, _, count, start, width in self._pieces(parameter.numel()):
            rows = gradient[start : start + count * width].view(count, width)
            squares[first : first + count] += torch.linalg.vector_norm(rows, dim=1, dtype=torch.float32) ** 2
        if self._is_part(parameter.numel()):
            squares = squares.to(self._device)  # an offloaded part lies on the CPU, where NCCL does not reach
            torch.distributed.all_reduce(squares)
            squares = squares.to(parameter.device)
        return (self._max_norm / (squares.sqrt() + _CLIP_EPS)).clamp_(max=1.0).to(parameter.dtype)

    def _is_part(self, numel: int) -> bool:
        return numel < self.slots * self.width

    def _begin(self, numel: int) -> int:
        """Where this process's range begins in the flat sheet."""
        return self._rank * numel if self._is_part(numel) else 0

    def _pieces(self, numel: int) -> Iterator[tuple[int, int, int, int, int]]:
        """(first slot, first column, slots, start in the flat tensor, width): this process's range, row by row."""
        begin = self._begin(numel)
        position, end = begin, min(begin + numel, self.slots * self.width)
        while position < end:
            slot, within = divmod(position, self.width)
            whole = (end - position) // self.width if within == 0 else 0
            width = self.width if whole else min(self.width - within, end - position)
            yield slot, within, max(1, whole), position - begin, width
            position += max(1, whole) * width


def _runs(rates: Sequence[float | None], first: int, end: int) -> Iterator[list[int]]:
    """Runs of neighbouring slots that are not frozen."""
    for active, run in groupby(range(first, end), key=lambda slot: rates[slot] is not None):
        if active:
            yield list(run)
