"""Linear modules computed by oneDNN are the modules they were, in every layout of their input."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from adapters.base.onednn import OneDnnLinear, use_onednn


@pytest.mark.parametrize("bias", [True, False])
def test_every_layout_gives_what_torch_gives(bias: bool) -> None:
    plain = nn.Linear(24, 40, bias=bias).requires_grad_(False)
    fast = copy.deepcopy(plain)
    use_onednn(fast)
    assert type(fast) is OneDnnLinear
    x = torch.randn(3, 5, 24)
    for value in (x, x[0], x[0, 0], x[:, -1:], x[:, ::2], x.transpose(0, 1), torch.randn(3, 5, 48)[..., ::2], x[:0]):
        torch.testing.assert_close(fast(value), plain(value), atol=1e-5, rtol=1e-5)
    fast.weight.data = plain.weight.data = torch.randn(24, 40).T  # weights may be exchanged, whatever their layout
    torch.testing.assert_close(fast(x), plain(x), atol=1e-5, rtol=1e-5)


def test_gradients_and_other_precisions_are_left_to_torch() -> None:
    model: Any = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).bfloat16(), nn.Linear(4, 2, device="meta"))
    use_onednn(model)
    assert [type(module) for module in model] == [OneDnnLinear, nn.Linear, nn.Linear]
    x = torch.randn(2, 4, requires_grad=True)
    model[0](x).sum().backward()
    torch.testing.assert_close(x.grad, model[0].weight.sum(0).expand(2, 4))
