"""What a base does with its tokens and its linear modules is seen on the model itself."""

from __future__ import annotations

import pytest
import torch

from adapters.fingerprint import changed, fingerprint
from adapters.probe import Probe, probe
from tests.support import zoo

CAUSAL = ("llama", "gpt2", "opt", "mamba", "qwen2_moe", "deepseek_v3", "jetmoe", "gemma3_text", "recurrent_gemma")
NOT_CAUSAL = ("bert", "roberta", "electra", "xlnet", "xlm", "cpmant")


def _probe(kind: str, dtype: torch.dtype = torch.float32) -> Probe:
    base = zoo.build(kind, 320).to(dtype)
    before = fingerprint(base)
    found = probe(base)
    assert changed(base, before) is None
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", [*CAUSAL, *NOT_CAUSAL])
def test_later_tokens_move_earlier_logits_where_a_model_is_not_causal(kind: str, dtype: torch.dtype) -> None:
    assert _probe(kind, dtype).is_causal == (kind in CAUSAL)


def test_modules_that_see_all_rows_as_one_list_of_tokens() -> None:
    assert {n.rpartition(".")[2] for n, s in _probe("opt").sight.items() if s == "flat"} == {"fc1", "fc2"}
    flat = {name for name, sight in _probe("qwen2_moe").sight.items() if sight == "flat"}
    assert flat
    assert all("shared_expert" in name for name in flat)


def test_modules_whose_matrix_is_read_without_them() -> None:
    found = _probe("mamba")
    names = {name.rpartition(".")[2] for name in found.read_elsewhere}
    assert names == {"dt_proj", "lm_head"}  # the head is the embedding's matrix
    assert all(sight == "unseen" for name, sight in found.sight.items() if name.endswith("dt_proj"))
    assert _probe("llama").read_elsewhere == frozenset()
    assert any("shared_transf" in name for name in _probe("zamba").read_elsewhere)  # layers that share their matrices


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["llama", "mixtral", "qwen3_next", "deepseek_v3"])
def test_rounding_is_not_taken_for_a_module_that_mixes_rows(kind: str, dtype: torch.dtype) -> None:
    assert "other" not in _probe(kind, dtype).sight.values()
