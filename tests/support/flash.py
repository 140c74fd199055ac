"""A library that says it is flash-attn 2 and computes by torch: what would call the real one calls it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import modeling_flash_attention_utils
from transformers.utils import import_utils, is_flash_attn_2_available

CODE = """
import torch

calls = []

def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0):
    assert q.dtype in (torch.float16, torch.bfloat16) and q.device.type == "cuda"
    calls.append((tuple(q.shape), causal))
    turned = (one.transpose(1, 2) for one in (q, k, v))
    how = {"is_causal": causal, "scale": softmax_scale, "enable_gqa": True}
    return torch.nn.functional.scaled_dot_product_attention(*turned, **how).transpose(1, 2)

def flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0,
                           softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0):
    raise AssertionError("rows without a mask are no packed ones")

def flash_attn_with_kvcache(q, k_cache, v_cache, k=None, v=None, softmax_scale=None, causal=False):
    raise AssertionError("no pages are asked for")
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "flash-attn") -> None:
    """For the rest of a test it is installed; what is called otherwise is of another library's later version."""
    package = folder / "flash_attn"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(CODE)
    (package / "bert_padding.py").write_text("pad_input = unpad_input = None\n")
    told = folder / f"{name.replace('-', '_')}-2.8.3.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.8.3\n")
    (told / "top_level.txt").write_text("flash_attn\n")
    monkeypatch.syspath_prepend(folder)
    for module in ("flash_attn", "flash_attn.bert_padding"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(modeling_flash_attention_utils, "_loaded_implementation", None)
    for known in (import_utils._package_distribution_mapping, is_flash_attn_2_available):
        known.cache_clear()


def calls() -> Any:
    """Of each call the shape of its queries, and whether it was causal."""
    return importlib.import_module("flash_attn").calls
