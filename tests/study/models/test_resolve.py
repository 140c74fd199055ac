"""Models are understood from config.json and safetensors headers, and a wrong one is named before torch is needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from study.config import ModelConfig
from study.config.file import parse
from study.errors import ConfigError
from study.models.resolve import family, resolve, resolve_all


def test_a_local_model_is_counted_and_its_modules_found(tiny_model_dir: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = resolve(ModelConfig(id=str(tiny_model_dir)), "float32", "models[0]")
    loaded = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    assert model.params == sum(parameter.numel() for parameter in loaded.parameters())
    layers = sum(
        parameter.numel() for name, parameter in loaded.named_parameters() if "layers" in name or "norm" in name
    )
    assert model.params - model.embedded == layers
    assert model.modules == ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")


@pytest.mark.parametrize(
    ("says", "word"),
    [
        ({"is_encoder_decoder": True, "architectures": ["BartForConditionalGeneration"]}, "encoder"),
        ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM"),
        ({"architectures": ["ElectraForPreTraining"], "is_decoder": False}, "ElectraForPreTraining"),
        ({"architectures": ["BertForMaskedLM"], "is_decoder": True}, None),
        ({"architectures": ["Gemma3ForConditionalGeneration"]}, None),
    ],
)
def test_what_says_that_it_is_not_causal_is_refused(
    says: dict[str, object], word: str | None, tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **says}))
    if word is None:
        resolve(ModelConfig(id=str(folder)), "float32", "models[0]")
        return
    with pytest.raises(ConfigError, match=word):
        resolve(ModelConfig(id=str(folder)), "float32", "models[0]")


def test_identity_follows_weights_tokenizer_and_dtype_but_not_the_place(tiny_model_dir: Path, tmp_path: Path) -> None:
    def identity(folder: Path, dtype: str = "float32") -> str:
        return resolve(ModelConfig(id=str(folder)), dtype, "models[0]").identity

    copy = tmp_path / "copy"
    shutil.copytree(tiny_model_dir, copy)
    assert identity(copy) == identity(tiny_model_dir)
    assert identity(copy, "bfloat16") != identity(copy)
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert identity(copy) != identity(tiny_model_dir)


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors", "tokenizer", "truncated", "absent"])
def test_a_folder_that_is_no_model_says_what_is_missing(tiny_model_dir: Path, tmp_path: Path, broken: str) -> None:
    copy = tmp_path / "copy"
    if broken != "absent":
        shutil.copytree(tiny_model_dir, copy)
    if broken == "tokenizer":
        for file in copy.glob("tokenizer*"):
            file.unlink()
    elif broken == "truncated":
        weights = copy / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-10])
    elif broken != "absent":
        (copy / broken).unlink()
    with pytest.raises(ConfigError) as caught:
        resolve(ModelConfig(id=str(copy)), "float32", "models[0]")
    assert caught.value.key == "models[0].id"
    assert {"truncated": "truncated", "absent": "no such folder"}.get(broken, broken.split(".")[-1]) in str(
        caught.value
    )


def test_a_hub_model_without_a_network_says_what_to_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="hf download some/model"):
        resolve(ModelConfig(id="some/model"), "float32", "models[0]")


def test_a_module_that_the_model_lacks_is_named(tiny_model_dir: Path) -> None:
    text = f"models: [{{id: {tiny_model_dir}}}]\nlanguages: [en]\ntasks: [{{name: a, lm_eval: 'a_{{language}}'}}]\n"
    with pytest.raises(ConfigError, match="query_key_value"):
        resolve_all(parse(text, ["recipe.lora.modules=[q_proj, query_key_value]"]))


def test_two_models_of_one_name_are_refused(tiny_model_dir: Path) -> None:
    entry = f"{{id: {tiny_model_dir}}}"
    text = f"models: [{entry}, {entry}]\nlanguages: [en]\ntasks: [{{name: a, lm_eval: 'a_{{language}}'}}]\n"
    with pytest.raises(ConfigError, match="two models"):
        resolve_all(parse(text))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Llama-3.2-1B-Instruct", "Llama-3"),
        ("Qwen2.5-0.5B-Instruct", "Qwen2"),
        ("gemma-3-1b-it", "gemma-3"),
        ("SmolLM2-135M-Instruct", "SmolLM2"),
        ("polyglot-nano", "polyglot"),
    ],
)
def test_family_is_read_off_the_name(name: str, expected: str) -> None:
    assert family(name) == expected
