"""Adapters stay read as long as there is room for them, those read last."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from adapters.folders.folder import AdapterWeights, Factors
from adapters.modules import plain
from adapters.modules.plain import Plain
from tests.support import zoo


def of(bytes_: int) -> AdapterWeights:
    half = torch.zeros(1, bytes_ // 8)
    return AdapterWeights({"x": Factors(half, half.T, 1.0)})


def test_one_that_is_too_large_takes_nobodys_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base: PreTrainedModel = zoo.build("llama", 64)
    monkeypatch.setattr(plain, "KEPT", 160)
    known, some = Plain(base), {tmp_path / str(i): of(64) for i in range(3)}
    first, second, third = some
    for folder in (first, second, first):  # as often as it is put it counts once
        known.put(folder, some[folder])
    known.put(tmp_path / "large", of(168))
    assert known(tmp_path / "large") is None, "there is no such folder to read"
    assert [known(folder) for folder in (second, first)] == [some[second], some[first]]
    known.put(third, some[third])
    assert [known(folder) for folder in some] == [some[first], None, some[third]]
