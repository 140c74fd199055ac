"""Losses that are gone through in parts are those of the whole, and so are their gradients."""

from __future__ import annotations

import pytest
import torch

from trainers import loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_give_what_the_whole_gives(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    targets, weights = torch.randint(50, (13,)), torch.rand(13)
    found = []
    for at_once in (10**6, 150):  # three rows at a time, and one that is left
        monkeypatch.setattr(loss, "AT_ONCE", at_once)
        logits = (4 * torch.randn(13, 50, generator=torch.Generator().manual_seed(1))).to(dtype).requires_grad_()
        losses = loss.losses(logits, targets)
        (losses * weights).sum().backward()
        assert logits.grad is not None
        assert logits.grad.dtype == dtype
        found.append((losses, logits.grad))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[1][1], found[0][1], atol=1e-7 if dtype == torch.float32 else 1e-3, rtol=1e-5)
