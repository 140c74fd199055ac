"""A base that was changed in any way has another fingerprint; one that was only used has the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from adapters.base.fingerprint import changed, fingerprint
from tests.support import zoo


def _bit(base: Any) -> None:
    base.model.layers[1].mlp.up_proj.weight.data.view(torch.int32)[3, 5] ^= 1


def _rows(base: Any) -> None:
    weight = base.model.embed_tokens.weight.data
    weight[[10, 200]] = weight[[200, 10]]


def _exchange(base: Any) -> None:
    a, b = base.model.layers[0].self_attn.q_proj, base.model.layers[1].self_attn.q_proj
    a.weight.data, b.weight.data = b.weight.data, a.weight.data


def _copied(base: Any) -> None:
    base.lm_head.weight.data = base.lm_head.weight.data.clone()


def _wrapped(base: Any) -> None:
    base.model.norm = torch.nn.Sequential(base.model.norm)


def _hooked(base: Any) -> None:
    base.model.norm.register_forward_hook(lambda *_: None)


def _replicated(base: Any) -> None:
    base.model.layers.append(base.model.layers[0])


def _biased(base: Any) -> None:
    base.model.layers[0].mlp.up_proj.bias = torch.nn.Parameter(torch.zeros(64))


def _shadowed(base: Any) -> None:
    base.forward = base.forward


def _trained(base: Any) -> None:
    base.train()


CHANGES = (_bit, _rows, _exchange, _copied, _wrapped, _hooked, _replicated, _biased, _shadowed, _trained)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_any_change_shows(change: Callable[[Any], None], dtype: torch.dtype) -> None:
    base = zoo.build("llama", 320).to(dtype)
    if dtype == torch.bfloat16 and change is _bit:
        pytest.skip("the bit is one of a float32")
    before = fingerprint(base)
    change(base)
    assert changed(base, before) is not None


@pytest.mark.parametrize("kind", ["llama", "gpt2", "phi3", "mamba", "qwen3_next"])
def test_a_base_that_is_used_stays_the_same(kind: str) -> None:
    base = zoo.build(kind, 320)
    before = fingerprint(base)
    with torch.inference_mode():
        base(input_ids=torch.arange(3, 203)[None], use_cache=False)
    assert changed(base, before) is None
    assert changed(copy.deepcopy(base), before) is not None
