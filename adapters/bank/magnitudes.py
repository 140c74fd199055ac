"""DoRA: a module's matrix W + s B A, each row of it scaled to a trained length, its magnitude (Liu et al. 2024).

As in PEFT the rows' own lengths are constants to the gradient. They come from the factors alone, so that nothing is as
large as K matrices: |w + s b A|^2 = |w|^2 + 2 s b A w + s^2 b A A^T b^T for a row w of W and b of B.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from adapters.base.device import on_device
from adapters.base.spread import whole
from adapters.quantising.weights import is_quantised, matrix_OI


class Magnitudes:
    """One module of a base, with adapters of its bank that scale what comes out of it."""

    def __init__(self, module: nn.Module) -> None:
        assert isinstance(module, nn.Linear | Conv1D)
        self._module = module
        self._squares_O: torch.Tensor | None = None
        self._scalings: tuple[float, ...] = ()
        self._scalings_K1: torch.Tensor | None = None

    @torch.no_grad()
    def begin(self) -> torch.Tensor:
        """The lengths of the matrix's own rows [O], float32: with these and B = 0 nothing changes."""
        with whole([self._module.weight]):
            lengths_O: torch.Tensor = torch.linalg.vector_norm(self._weight_OI().float(), dim=1)
            return lengths_O

    def scale(
        self, magnitude_KO: torch.Tensor, a_KRI: torch.Tensor, b_KOR: torch.Tensor, scalings: Sequence[float]
    ) -> torch.Tensor:
        """What each adapter's outputs are multiplied by: [K, O] float32, with a gradient of the magnitudes alone."""
        with torch.no_grad():
            weight_OI = self._weight_OI()
            if self._squares_O is None:
                self._squares_O = weight_OI.float().square().sum(1)
            s_K1 = self._made(tuple(scalings), a_KRI.device)
            a, b = a_KRI.float(), b_KOR.float()
            crossed_KO = (torch.matmul(weight_OI.to(a_KRI.dtype), a_KRI.mT).float() * b).sum(2)
            updates_KO = (torch.bmm(b, torch.bmm(a, a.mT)) * b).sum(2)
            lengths_KO = (self._squares_O + 2 * s_K1 * crossed_KO + s_K1.square() * updates_KO).sqrt()
        return magnitude_KO.float() / lengths_KO

    def applied(
        self,
        y: torch.Tensor,
        read: torch.Tensor | None,
        product: Callable[[torch.Tensor], torch.Tensor],
        scaled: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
    ) -> torch.Tensor:
        """The module's output y, with the adapters. `product` adds theirs; `scaled` multiplies, around a bias.

        With dropout the adapters `read` something else than the base did, and that alone is scaled, as in PEFT:
        y - W x + scale (W + s B A) x.
        """
        if read is None:
            return scaled(product(y), self._module.bias)
        plain = nn.functional.linear(read, self._weight_OI())
        rest = y - plain  # before the products are added in place
        return rest + scaled(product(plain), None)

    def _made(self, scalings: tuple[float, ...], device: torch.device) -> torch.Tensor:
        """The scalings on the device [K, 1], where they stay as long as they are the same."""
        if self._scalings_K1 is None or scalings != self._scalings:
            self._scalings, self._scalings_K1 = scalings, on_device(scalings, device)[:, None]
        return self._scalings_K1

    def _weight_OI(self) -> torch.Tensor:
        if is_quantised(self._module):
            return matrix_OI(self._module)
        weight = self._module.weight
        return weight.T if isinstance(self._module, Conv1D) else weight
