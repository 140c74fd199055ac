"""Dropout's mask is a function of keys, module, token and feature, however much of it is made at once."""

from __future__ import annotations

import pytest
import torch

from adapters.bank import dropout

KEYS = torch.tensor([3, -(2**63), 2**63 - 1, 77])


def test_a_mask_in_parts_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dropout.mask(KEYS, 23, 9, 0.3)
    for at_once in (1, 100, 36 * 23):
        monkeypatch.setattr(dropout, "AT_ONCE", at_once)
        assert torch.equal(dropout.mask(KEYS, 23, 9, 0.3), whole)
    assert 0.2 < 1 - whole.float().mean() < 0.4


def test_a_text_that_shares_a_row_keeps_its_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = dropout.mask(KEYS[:2], 7, 9, 0.3)
    keys, places = KEYS[[1] * 4 + [0] * 7][None], torch.tensor([[*range(4), *range(7)]])
    for at_once in (1, 2**24):
        monkeypatch.setattr(dropout, "AT_ONCE", at_once)
        together = dropout.mask(keys, 11, 9, 0.3, places)
        assert torch.equal(together, torch.cat([alone[1, :4], alone[0]])[None])


@pytest.mark.parametrize("module", [0, 1, 223])
def test_a_module_has_the_stream_that_it_always_had(module: int) -> None:
    """Its number times an odd constant, around the 64 bits: adapters of older stores go on as they were begun."""
    x_BTI = torch.ones(len(KEYS), 5, 8)
    stream = torch.tensor(module) * -4658895280553007687
    kept = dropout.mask(KEYS + stream, 5, 8, 0.5)
    assert torch.equal(dropout.Dropout(0.5, KEYS)(x_BTI, module), kept * 2.0)
