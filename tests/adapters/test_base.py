"""The one way to load a base: what is fetched for its config and tokenizer, and whose code may run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from adapters.base import load_config, load_model, load_tokenizer
from study.config import ModelConfig
from study.models.resolve import Model, resolve


@pytest.fixture
def model(tiny_model_dir: Path) -> Model:
    return resolve(ModelConfig(id=str(tiny_model_dir)), "bfloat16", "models[0]")


def test_a_local_base_is_loaded_in_its_dtype(model: Model) -> None:
    base, config, tokenizer = load_model(model), load_config(model), load_tokenizer(model)
    assert str(base.dtype) == "torch.bfloat16"
    assert config.vocab_size == base.get_input_embeddings().weight.shape[0]
    assert tokenizer.encode("Paris")


def test_no_weights_are_fetched_for_config_and_tokenizer(
    model: Model, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def snapshot(repo: str, revision: str, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return str(tiny_model_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    fields: dict[str, Any] = {**vars(model), "path": "org/tiny", "revision": "c0ffee"}
    on_hub = Model(**fields)
    load_config(on_hub)
    load_tokenizer(on_hub)
    assert not any("*.safetensors" in patterns for patterns in asked)
    load_model(on_hub)
    assert "*.safetensors" in asked[-1]
