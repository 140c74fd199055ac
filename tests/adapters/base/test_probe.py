"""Whether a model may be read as we read it is seen on the model itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapters.base.fingerprint import changed, fingerprint
from adapters.base.probe import Probe, agreement, probe, said, tokens_of
from tests.support import zoo

CAUSAL = ("llama", "gpt2", "opt", "mamba", "qwen2_moe", "deepseek_v3", "jetmoe", "gemma3_text", "recurrent_gemma")
NOT_CAUSAL = ("bert", "roberta", "electra", "xlnet", "cpmant")


def _probe(kind: str, dtype: torch.dtype = torch.float32) -> Probe:
    base = zoo.build(kind, 320).to(dtype)
    before = fingerprint(base)
    found = probe(base)
    assert changed(base, before) is None
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", [*CAUSAL, *NOT_CAUSAL])
def test_later_tokens_move_earlier_logits_where_a_model_is_not_causal(kind: str, dtype: torch.dtype) -> None:
    found = _probe(kind, dtype)
    assert (found.trouble is None) == (kind in CAUSAL)
    assert "later tokens" in (found.trouble or "later tokens")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_model_whose_rows_know_of_each_other_is_found(dtype: torch.dtype) -> None:
    base = zoo.build("llama", 320).to(dtype)

    def mean_of_rows(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output + output.mean(0, keepdim=True)

    base.model.layers[0].mlp.register_forward_hook(mean_of_rows)
    assert "other texts" in str(probe(base).trouble)


def test_what_is_no_number_or_minus_infinite_in_both_does_not_differ() -> None:
    base = zoo.build("llama", 320)
    tokens = tokens_of(base)
    alone = said(base, tokens)
    alone[..., 7], alone[..., 8] = -torch.inf, torch.nan
    same = agreement(alone, alone.clone(), alone, 4)
    assert same.holds
    assert not same.tells
    other = alone.clone()
    other[0, 3, 5] += 0.01
    assert not agreement(other, alone, alone, 4).holds
    other[..., 7] = -1.0
    assert not agreement(other, alone, alone, 2).holds
