"""Runs of rows of unequal lengths are multiplied together where a device does so by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adapters.bank.products import _can_group


@pytest.mark.parametrize(
    ("major", "dtype", "rank", "groups"),
    [
        (8, torch.bfloat16, 8, False),  # torch would wait for the ends of the runs, and go through them one by one
        (9, torch.bfloat16, 8, True),
        (10, torch.bfloat16, 8, True),
        (12, torch.bfloat16, 8, False),
        (9, torch.float32, 8, False),
        (9, torch.bfloat16, 4, False),  # no rows of whole 16 bytes
    ],
)
def test_a_gpu_groups_where_it_has_a_kernel_for_it(
    major: int, dtype: torch.dtype, rank: int, groups: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (major, 0))
    a_KRI, b_KOR = torch.zeros(2, rank, 16, dtype=dtype), torch.zeros(2, 16, rank, dtype=dtype)
    on_gpu: Any = SimpleNamespace(device=torch.device("cuda"))
    assert _can_group(on_gpu, a_KRI, b_KOR) == groups
