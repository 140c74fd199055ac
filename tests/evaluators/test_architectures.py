"""Every kind of causal LM scores as in lm-eval: with shared prompts where it honours the mask, row by row where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf

from evaluators.evaluator import Evaluator, Settings
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.store.store import Store
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, unit_of, write_task
from tests.evaluators.test_parity import compare
from tests.support.tiny_models import make_tokenizer, save_model

SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
GROUPED = {**SIZE, "num_key_value_heads": 2}
WINDOW = 12  # tokens: shorter than the prompts
ARCHITECTURES: dict[str, tuple[type[tf.PretrainedConfig], dict[str, Any], str]] = {
    "llama": (tf.LlamaConfig, GROUPED, "shared"),
    "qwen2": (tf.Qwen2Config, GROUPED, "shared"),
    "qwen2, windows": (
        tf.Qwen2Config,
        {**GROUPED, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
        "shared",
    ),
    "qwen3": (tf.Qwen3Config, {**GROUPED, "head_dim": 8}, "shared"),
    "gemma3": (
        tf.Gemma3TextConfig,
        {**GROUPED, "head_dim": 8, "sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
        "shared",
    ),
    "gemma2, soft caps": (tf.Gemma2Config, {**GROUPED, "head_dim": 8, "sliding_window": WINDOW}, "shared"),
    "gpt-neox": (tf.GPTNeoXConfig, SIZE, "shared"),
    "phi": (tf.PhiConfig, SIZE, "shared"),
    "mistral": (tf.MistralConfig, {**GROUPED, "sliding_window": WINDOW}, "shared"),
    "mistral, no window": (tf.MistralConfig, {**GROUPED, "sliding_window": None}, "shared"),
    "gpt2": (
        tf.GPT2Config,
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "initializer_range": 0.2},
        "shared",
    ),
    "mamba": (
        tf.MambaConfig,
        {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "initializer_range": 0.2},
        "plain",
    ),
}
MODULES = {"mamba": ["in_proj", "x_proj"]}  # the others: all linear ones


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_scores_as_in_lm_eval(name: str, tmp_path: Path, harness: Any) -> None:
    config, fields, path = ARCHITECTURES[name]
    model = tmp_path / "model"
    make_tokenizer(model, bos=name != "gpt2")
    config(**fields).save_pretrained(model)
    # some tokenizer classes add tokens of their own, and lm-eval cuts the embeddings to the tokenizer's size
    vocabulary = len(tf.AutoTokenizer.from_pretrained(model))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_model(tf.AutoModelForCausalLM.from_config(config(vocab_size=vocabulary, **fields)), model)
    write_task(tmp_path / "tasks", "quiz_en", make_docs(6, seed=3))
    quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path / "tasks"))
    adapter = make_adapter(model, tmp_path / "adapter", seed=1, target_modules=MODULES.get(name, "all-linear"))
    store = Store(str(tmp_path / "store"))
    evaluator = Evaluator(model_of(model), store, Settings((quiz,), Scoring()))
    unit = unit_of(Cell("quiz", "en"), put_adapter(store, adapter, "a"))
    (scored,) = evaluator.score([unit])
    assert scored.ok, scored.traceback
    assert {row["engine"].split()[0] for row in store.scores().to_pylist()} == {path}
    metrics, samples = harness(model, quiz, "en", Scoring(), adapter)
    compare(store, unit, metrics, samples)
