"""Losses that are gone through in parts are those of the whole, and so are their gradients; on a CPU bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from trainers import loss

Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def whole(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.float(), targets, reduction="none")


def learned(losses: Losses, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of some logits, and their gradient."""
    draw = torch.Generator().manual_seed(1)
    targets, weights = torch.randint(50, (13,), generator=draw), torch.rand(13, generator=draw)
    logits = (4 * torch.randn(13, 50, generator=draw)).to(dtype).requires_grad_()
    found = losses(logits, targets)
    (found * weights).sum().backward()
    assert logits.grad is not None
    assert logits.grad.dtype == dtype
    return found, logits.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_give_what_the_whole_gives(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "AT_ONCE", 150)  # three rows at a time, and one that is left
    parts: Losses = loss.InParts.apply
    found, expected = learned(parts, dtype), learned(whole, dtype)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], atol=1e-7 if dtype == torch.float32 else 1e-3, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_cpu_they_are_the_same_bit_for_bit_however_many(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "AT_ONCE", 150)
    for found, expected in zip(learned(loss.losses, dtype), learned(whole, dtype), strict=True):
        assert torch.equal(found, expected)
