"""An adapter on a base: initial weights, the folder it is written to, and the base left as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from adapters import lora
from study.config import Lora, ModelConfig
from study.models import Model, resolve

RECIPE = Lora(r=4, alpha=8)


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Model:
    return resolve(ModelConfig(id=str(tiny_model_dir)), "float32", "models[0]")


def fresh(model: Model, recipe: Lora = RECIPE, adapter_id: str = "a", seed: int = 1) -> dict[str, torch.Tensor]:
    base = AutoModelForCausalLM.from_pretrained(model.path)
    peft_model = lora.attach(base, recipe, adapter_id, seed)
    return {name: parameter.detach().clone() for name, parameter in lora.parameters(peft_model).items()}


def test_initial_weights_are_a_function_of_seed_and_adapter(model: Model) -> None:
    first = fresh(model)
    torch.manual_seed(999)
    again, narrower = fresh(model), fresh(model, Lora(r=4, alpha=8, modules=("q_proj",)))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(first[name], narrower[name]) for name in narrower)
    a_names = [name for name in first if ".lora_A." in name]
    for other in (fresh(model, seed=2), fresh(model, adapter_id="b")):
        assert not any(torch.equal(first[name], other[name]) for name in a_names)


def test_initial_weights_are_distributed_as_pefts(model: Model) -> None:
    weights = fresh(model, Lora(r=64, alpha=8))
    for name, tensor in weights.items():
        if ".lora_B." in name:
            assert not tensor.any()
        else:
            bound = tensor.shape[1] ** -0.5
            assert tensor.abs().max() <= bound
            assert tensor.abs().max() > 0.98 * bound
            assert tensor.std() == pytest.approx(bound / 3**0.5, rel=0.05)


@pytest.mark.parametrize("recipe", [RECIPE, Lora(r=2, alpha=3, rslora=True, modules=("q_proj", "down_proj"))])
def test_a_written_adapter_loads_in_peft(model: Model, recipe: Lora, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(model.path)
    peft_model = lora.attach(base, recipe, "a", 1).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in lora.parameters(peft_model).values():
            parameter.normal_(generator=generator)
    tokens = torch.arange(3, 40)[None]
    expected = peft_model(input_ids=tokens).logits
    lora.write(tmp_path, recipe, model, lora.parameters(peft_model))
    reloaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model.path), tmp_path).eval()
    torch.testing.assert_close(reloaded(input_ids=tokens).logits, expected)

    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    text = (tmp_path / "adapter_config.json").read_text()
    assert str(Path(model.path).parent) not in text
    config = json.loads(text)
    assert config["base_model_name_or_path"] == model.name
    assert config["inference_mode"] is True
    assert set(config["target_modules"]) == set(model.modules if recipe is RECIPE else recipe.modules)


def test_a_detached_base_is_bit_identical(model: Model) -> None:
    base = AutoModelForCausalLM.from_pretrained(model.path)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    peft_model = lora.attach(base, RECIPE, "a", 1)
    lora.detach(peft_model)
    after = base.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
