"""Block masks for FlexAttention say what dense masks say: run by its definition here, on a GPU by compiled kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from evaluators.forward.engine import Engine
from evaluators.forward.rows import Request, shared_rows
from tests.evaluators.test_architectures import ARCHITECTURES


@pytest.mark.parametrize("name", ["llama", "gemma3", "mistral"])
def test_block_masks_give_what_dense_ones_give(name: str) -> None:
    config, fields, _ = ARCHITECTURES[name]
    torch.manual_seed(0)
    model: Any = tf.AutoModelForCausalLM.from_config(config(vocab_size=99, **fields)).eval()
    rng = np.random.default_rng(0)
    rows, count = [], 0
    for length in (9, 40, 150):
        prompt = tuple(rng.integers(3, 99, length).tolist())
        options = [Request((*prompt, *rng.integers(3, 99, n).tolist()), n) for n in (3, 5, 2)]
        rows += shared_rows(options, range(count, count + 3), 600)
        count += 3
    engine = Engine(model, 1000)
    dense, _ = engine.loglikelihoods(rows, count)
    engine._masks.flex_from = 20  # the shortest row of its own batch stays dense
    engine.budget = 200
    before = model.config._attn_implementation
    with torch.compiler.set_stance("force_eager"):
        blocks, _ = engine.loglikelihoods(rows, count)
    assert blocks == pytest.approx(dense, abs=1e-4)
    assert model.config._attn_implementation == before
