"""The one way to load a base: what is fetched for its config and tokenizer, and whose code may run."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from safetensors.torch import load_file, save_file

from adapters.base.loading import load_config, load_model, shell_of
from study.config import ModelConfig
from study.errors import ConfigError
from study.models.chat import tokenizer_of
from study.models.resolve import Model, resolve
from tests.support import zoo


@pytest.fixture
def model(tiny_model_dir: Path) -> Model:
    return resolve(ModelConfig(id=str(tiny_model_dir)), "bfloat16", "models[0]")


def test_a_local_base_is_loaded_in_its_dtype(model: Model) -> None:
    base, config, tokenizer = load_model(model), load_config(model), tokenizer_of(model)
    assert str(base.dtype) == "torch.bfloat16"
    assert config.vocab_size == base.get_input_embeddings().weight.shape[0]
    assert tokenizer.encode("Paris")


def test_no_weights_are_fetched_for_config_and_tokenizer(
    model: Model, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def snapshot(repo: str, revision: str, allow_patterns: list[str], tqdm_class: type) -> str:
        asked.append(allow_patterns)
        return str(tiny_model_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    fields: dict[str, Any] = {**vars(model), "path": "org/tiny", "revision": "c0ffee"}
    on_hub = Model(**fields)
    load_config(on_hub)
    tokenizer_of(on_hub)
    assert not any("*.safetensors" in patterns for patterns in asked)
    load_model(on_hub)
    assert "*.safetensors" in asked[-1]


def _without(folder: Path, to: Path, name: str) -> Model:
    """The model of a copied folder that lacks one weight."""
    shutil.copytree(folder, to)
    weights = load_file(to / "model.safetensors")
    del weights[name]
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    return resolve(ModelConfig(id=str(to)), "float32", "models[0]")


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "lm_head.weight", "model.norm.weight"])
def test_a_base_that_lacks_a_weight_is_refused(name: str, tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=name):
        load_model(_without(tiny_model_dir, tmp_path / "model", name))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("intermediate_size", 80, "its weights are of other sizes than its config.json says"),
        ("num_hidden_layers", "two", "its config.json cannot be used: .*num_hidden_layers"),
    ],
)
def test_a_config_that_is_not_of_the_weights_is_refused(
    key: str, value: object, says: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ConfigError, match=says):
        load_model(resolve(ModelConfig(id=str(folder)), "float32", "models[0]"))


@pytest.mark.processes  # to save a model loads DeepSpeed
def test_a_tied_head_lacks_nothing(tmp_path: Path) -> None:
    folder = zoo.make("gpt2", tmp_path)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    load_model(resolve(ModelConfig(id=str(folder)), "float32", "models[0]"))


@pytest.mark.processes  # as above
@pytest.mark.parametrize("kind", ["gemma3n", "gemma4_assistant"])  # one lacks a library, one a model that it drafts for
def test_a_type_that_is_not_built_here_is_refused(kind: str, tmp_path: Path) -> None:
    model = resolve(ModelConfig(id=str(zoo.make(kind, tmp_path))), "float32", "models[0]")
    for load in (load_model, shell_of):
        with pytest.raises(ConfigError, match=r"transformers does not build it: (ImportError|ValueError): "):
            load(model)


@pytest.mark.processes  # as above
@pytest.mark.parametrize("kind", ["t5", "albert"])
def test_a_type_without_a_causal_class_is_refused(kind: str, tiny_model_dir: Path, tmp_path: Path) -> None:
    model = resolve(ModelConfig(id=str(tiny_model_dir)), "float32", "models[0]")
    folder = zoo.make(kind, tmp_path)
    with pytest.raises(ConfigError, match="no causal language model"):
        load_model(dataclasses.replace(model, path=str(folder)))
