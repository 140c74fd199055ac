"""Block masks for FlexAttention say what dense masks say: run by its definition here, on a GPU by compiled kernels."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from torch.nn.attention.flex_attention import create_block_mask

from adapters.folders.folder import UnsupportedAdapter
from evaluators.forward import masks
from evaluators.forward.blocks import FLEX_BLOCK, block_mask
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


@pytest.mark.parametrize("window", [None, 5, 200])
def test_a_block_is_left_out_where_nobody_looks_and_asks_nothing_where_all_do(window: int | None) -> None:
    rng = np.random.default_rng(1)
    prompt = tuple(rng.integers(3, 99, 300).tolist())
    rows = shared_rows([Request((*prompt, *rng.integers(3, 99, n).tolist()), n) for n in (40, 90, 150)], range(3), 900)
    length = -(-max(map(len, rows)) // FLEX_BLOCK) * FLEX_BLOCK
    nodes = [[np.pad(values, (0, length - len(row))) for values in (row.end_N, row.depth_N)] for row in rows]
    end_BL, depth_BL = (torch.from_numpy(np.stack(values)).long() for values in zip(*nodes, strict=True))
    made = block_mask(end_BL, depth_BL, window)
    whole = create_block_mask(made.mask_mod, len(rows), None, length, length, device="cpu", BLOCK_SIZE=FLEX_BLOCK)
    looked, partly = whole.to_dense() > 0, _numbers(made.kv_num_blocks, made.kv_indices)
    fully = _numbers(made.full_kv_num_blocks, made.full_kv_indices)
    assert not (partly & fully).any()
    assert ((partly | fully) >= looked).all(), "nothing that is looked at is left out"
    assert (fully <= _numbers(whole.full_kv_num_blocks, whole.full_kv_indices)).all(), "all of it is looked at"
    if window is None:
        assert torch.equal(partly | fully, looked)
        assert fully.any()


def _numbers(counts: Any, indices: Any) -> torch.Tensor:
    """Which blocks are among the first `counts` of `indices`."""
    first = torch.arange(indices.shape[-1]) < counts[..., None]
    return torch.zeros_like(first).scatter(-1, indices.long(), first)


FLEX = "transformers.integrations.flex_attention.compile_friendly_flex_attention"


def small(monkeypatch: pytest.MonkeyPatch, flex: Callable[..., Any]) -> Engine:
    """A model's engine in a process that has not left FlexAttention, which is computed by `flex`."""
    torch.manual_seed(0)
    config, fields, _ = ARCHITECTURES["llama"]
    model: Any = tf.AutoModelForCausalLM.from_config(config(vocab_size=99, **fields)).eval()
    monkeypatch.setattr(FLEX, flex)
    monkeypatch.setattr(masks, "_without_flex", [])
    return Engine(model, 1000)


def branching(last: int = 9) -> list[Any]:
    return shared_rows([Request((*range(3, 60), n, 5), 2) for n in (7, 8, last)], range(3), 600)


def test_where_block_masks_do_not_run_prompts_are_shared_all_the_same_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[weakref.ref[torch.Tensor]] = []
    held: list[bool] = []  # at the start of each pass: whether what one that failed made is still there

    def without_compiler(query: torch.Tensor, *_: Any, **__: Any) -> Any:
        asked.append(weakref.ref(query))
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")  # as Triton says

    engine, rows = small(monkeypatch, without_compiler), branching()
    expected, _ = engine.loglikelihoods(rows, 3)
    engine.model.register_forward_pre_hook(lambda *_: held.append(any(one() is not None for one in asked)))
    for times in (1, 2):
        engine._masks.flex_from = 20
        found, _ = engine.loglikelihoods(rows, 3)
        assert found == pytest.approx(expected, abs=1e-4)
        assert engine._masks.flex_from is None
        assert len(asked) == times
    assert held == [False] * 4
    told = [record for record in caplog.records if "FlexAttention" in record.message]
    assert len(told) == 1
    assert "(RuntimeError: Failed to find C compiler." in told[0].message
    assert "C compiler (gcc)" in told[0].message


@pytest.mark.parametrize("error", [UnsupportedAdapter("no rows"), RuntimeError("CUDA error: an illegal memory access")])
def test_what_is_no_fault_of_block_masks_is_raised_at_once(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise error

    engine, passes = small(monkeypatch, failing), []
    engine.model.register_forward_pre_hook(lambda *_: passes.append(1))
    engine._masks.flex_from = 20
    with pytest.raises(type(error), match=str(error)):
        engine.loglikelihoods(branching(), 3)
    assert (engine._masks.flex_from, masks._without_flex, len(passes)) == (20, [], 1)


def test_what_fails_with_dense_masks_too_does_not_end_block_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that the model does not know is no fault of the masks."""
    engine = small(monkeypatch, lambda query, *_, **__: query)
    engine._masks.flex_from = 20
    with pytest.raises(IndexError):
        engine.loglikelihoods(branching(last=99), 3)
    assert (engine._masks.flex_from, masks._without_flex) == (20, [])


@pytest.mark.parametrize(("attention", "flex_from"), [(None, masks.FLEX_TOKENS), ("eager", None)])
def test_what_is_eager_for_lack_of_better_gets_block_masks_and_what_is_asked_to_be_gets_none(
    attention: str | None, flex_from: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
    with torch.device("meta"):
        model: Any = tf.Gemma2ForCausalLM(tf.Gemma2Config(**sizes, intermediate_size=8, vocab_size=99))
    assert model.config._attn_implementation == "eager"
    monkeypatch.setattr(tf.PreTrainedModel, "device", torch.device("cuda"))
    monkeypatch.setattr(masks, "_without_flex", [])
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=False):
        assert masks.Masks(model, attention).flex_from == flex_from
        says_so = torch._dynamo.config.fail_on_recompile_limit_hit
    assert says_so == (flex_from is not None), "who leaves compiling says so"
    engine = Engine(model, 1000, attention=attention)
    with engine.running(model):
        assert engine._masks.flex_from == flex_from


def test_rows_that_branch_are_left_to_torch_where_a_library_takes_no_mask() -> None:
    config = SimpleNamespace(_attn_implementation=masks.FLASH, get_text_config=lambda: config)
    model: Any = SimpleNamespace(config=config, device=torch.device("cpu"))
    model.set_attn_implementation = lambda name: setattr(config, "_attn_implementation", name)
    found = masks.Masks(model, masks.FLASH)
    assert found.of(torch.tensor([[2, 2]]), torch.tensor([[0, 1]])).dtype == torch.bool
    with found.attention(2):
        assert config._attn_implementation == "sdpa"
    assert config._attn_implementation == masks.FLASH
