"""What of an adapter that was made elsewhere has no place on its model is told while a study is planned, or refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from transformers import Gemma3TextConfig, GPT2Config, PretrainedConfig, Qwen2Config

from orchestrator.planning.given import left_out, with_left_out
from study.errors import ConfigError
from study.models.resolve import Model
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE
from study.units import GivenAdapter

TEXT = "layers.0.self_attn.q_proj"
CONFIGS = {
    "gemma": Gemma3TextConfig(num_hidden_layers=1, hidden_size=16, intermediate_size=16, vocab_size=64),
    "qwen": Qwen2Config(num_hidden_layers=1, hidden_size=64, intermediate_size=16, vocab_size=64),
    "gpt2": GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=64),
}


def model(folder: Path, config: PretrainedConfig) -> Model:
    config.save_pretrained(folder)
    return Model("m", str(folder), None, "m", "float32", "m", 1.0, 10, False, ())


def adapter(folder: Path, *modules: str, config: str = '{"target_modules": "all-linear"}') -> GivenAdapter:
    folder.mkdir()
    halves = {f"base_model.model.{module}.lora_{half}.weight": torch.ones(2, 2) for module in modules for half in "AB"}
    (folder / WEIGHTS_FILE).write_bytes(save(halves))
    told = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, **json.loads(config)}
    (folder / CONFIG_FILE).write_text(json.dumps(told))
    return GivenAdapter("id", "m", "mine", None, str(folder))


@pytest.mark.parametrize("inner", ["language_model.model", "model.language_model"])
def test_what_is_left_out_beside_a_language_model_is_told_by_part_and_number(inner: str, tmp_path: Path) -> None:
    towers = ("vision_tower.encoder.0.q_proj", "vision_tower.encoder.1.q_proj", "multi_modal_projector.a")
    beside = [f"model.{name}" if inner.startswith("model") else name for name in towers]
    given = adapter(tmp_path / "a", f"{inner}.{TEXT}", *beside)
    (found,) = with_left_out([given], [model(tmp_path / "m", CONFIGS["gemma"])])
    assert found == replace(given, left_out=(("multi_modal_projector", 2), ("vision_tower", 4)))
    (line,) = left_out([found])
    assert "adapter mine: 6 of its tensors are left out, those of multi_modal_projector, vision_tower: m has" in line
    assert "\n" not in line


@pytest.mark.parametrize(("base", "module"), [("qwen", "visual.blocks.0.attn.qkv"), ("gpt2", f"model.{TEXT}")])
def test_one_of_another_model_is_refused_in_a_line(base: str, module: str, tmp_path: Path) -> None:
    own = model(tmp_path / "m", CONFIGS[base])
    known = {"qwen": "model.layers.0.mlp.up_proj.weight", "gpt2": "transformer.h.0.attn.c_attn.weight"}[base]
    (tmp_path / "m" / "model.safetensors").write_bytes(save({known: torch.ones(2, 2)}))
    names = [f"model.{TEXT}", module] if base == "qwen" else [module]  # the first is as older Qwen2-VL has it
    with pytest.raises(ConfigError, match=rf"adapters\[0\].path = .*its base_model.model.{module}") as caught:
        with_left_out([adapter(tmp_path / "a", *names)], [own])
    assert "belongs to no part of m (2 such tensors)" in str(caught.value)
    assert "name the model that it was trained on" in str(caught.value)


def test_a_plain_one_is_as_it_was_and_asks_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = adapter(tmp_path / "a", f"model.{TEXT}", "model.layers.0.mlp.up_proj")
    monkeypatch.setitem(sys.modules, "adapters.folders.renamed", None)  # else importing it fails
    assert with_left_out([given], [model(tmp_path / "m", CONFIGS["qwen"])]) == (given,)
    assert list(left_out([given])) == []
    (tmp_path / "a" / WEIGHTS_FILE).write_bytes(save({"prompt_embeddings": torch.ones(2, 16)}))
    (tmp_path / "m" / "model.safetensors").write_bytes(save({"model.norm.weight": torch.ones(2)}))
    assert with_left_out([given], [model(tmp_path / "m", CONFIGS["qwen"])]) == (given,)


def test_a_trained_head_and_embedding_are_parts_of_their_model(tmp_path: Path) -> None:
    given = adapter(tmp_path / "a", f"model.{TEXT}", "model.embed_tokens", "lm_head")
    assert with_left_out([given], [model(tmp_path / "m", CONFIGS["qwen"])]) == (given,)
