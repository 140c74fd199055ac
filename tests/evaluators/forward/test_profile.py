"""Where scoring spends its time, of a base that lies on several GPUs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from evaluators.forward.profile import Profile


def test_a_stage_ends_when_all_gpus_of_a_split_base_have_done_their_part(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    base: Any = SimpleNamespace(device=torch.device("cuda", 0), hf_device_map={"embed": "cuda:0", "head": "cuda:1"})
    with Profile(base).stage("forward"):
        assert waited == [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert waited == [torch.device("cuda", 0), torch.device("cuda", 1)] * 2
