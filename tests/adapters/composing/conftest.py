"""A Llama and a GPT-2 with adapters of PEFT's making, whose ranks, alphas, rsLoRA, patterns and modules differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from adapters.composing.parts import read_parts
from adapters.folders.folder import AdapterWeights
from study.composition import Term
from study.config import ModelConfig
from study.models.resolve import Model, resolve
from tests.support.compositions import saved
from tests.support.tiny_models import make_tokenizer, save_model

LLAMA = {
    "a": LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"),
    "b": LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "down_proj"], use_rslora=True),
    "c": LoraConfig(
        r=2,
        lora_alpha=5,
        target_modules=["v_proj", "up_proj"],
        rank_pattern={"v_proj": 14},
        alpha_pattern={r"layers\.1\.mlp\.up_proj": 32},
    ),
}
GPT2 = {
    "a": LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", fan_in_fan_out=True),
    "b": LoraConfig(r=2, lora_alpha=3, target_modules=["c_attn"], use_rslora=True, fan_in_fan_out=True),
    "c": LoraConfig(r=3, lora_alpha=3, target_modules=["c_fc"], fan_in_fan_out=True),
}


@dataclass(frozen=True)
class World:
    """A base and the folders of adapters that were saved for it."""

    model: Model
    base: Any
    folders: dict[str, Path]

    @property
    def parts(self) -> dict[str, AdapterWeights]:
        names = sorted(self.folders)
        return dict(zip(names, read_parts(self.base, [Term(name) for name in names], self.folders), strict=True))

    def fresh(self) -> Any:
        return AutoModelForCausalLM.from_pretrained(self.model.path).eval()


def world(path: Path, configs: dict[str, LoraConfig], folder: Path) -> World:
    folders = {name: saved(path, config, folder / name, seed) for seed, (name, config) in enumerate(configs.items())}
    base = AutoModelForCausalLM.from_pretrained(path).eval().requires_grad_(False)
    return World(resolve(ModelConfig(id=str(path)), "float32", "models[0]"), base, folders)


@pytest.fixture(scope="session")
def llama(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return world(tiny_model_dir, LLAMA, tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("gpt2")
    vocabulary = make_tokenizer(folder / "base")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {"vocab_size": vocabulary, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
        save_model(GPT2LMHeadModel(GPT2Config(**options)), folder / "base")
    return world(folder / "base", GPT2, folder)
