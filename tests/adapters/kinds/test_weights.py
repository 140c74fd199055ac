"""An adapter: its initial weights and the folder it is written to."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from adapters.bank.bank import for_adapters
from adapters.folders.folder import read
from adapters.folders.sites import sites_named
from adapters.folders.targeting import meant
from adapters.kinds import lora_weights as lora
from adapters.kinds import whole_weights as whole
from study.config import Lora, ModelConfig
from study.models.resolve import Model, resolve
from tests.faults.disk import Disk

RECIPE = Lora(r=4, alpha=8)


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Model:
    return resolve(ModelConfig(id=str(tiny_model_dir)), "float32", "models[0]")


def fresh(model: Model, recipe: Lora = RECIPE, adapter_id: str = "a", seed: int = 1) -> dict[str, torch.Tensor]:
    base = AutoModelForCausalLM.from_pretrained(model.path)
    modules = recipe.modules if isinstance(recipe.modules, str) else list(recipe.modules)
    adapter = lora.initial(recipe, sites_named(base, meant(base, modules)), adapter_id, seed)
    named = {f"{name}.lora_A.weight": factors.a for name, factors in adapter.modules.items()}
    return {**named, **{f"{name}.lora_B.weight": factors.b for name, factors in adapter.modules.items()}}


def test_initial_weights_are_a_function_of_seed_and_adapter(model: Model) -> None:
    first = fresh(model)
    torch.manual_seed(999)
    again, narrower = fresh(model), fresh(model, Lora(r=4, alpha=8, modules=("q_proj",)))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(first[name], narrower[name]) for name in narrower)
    a_names = [name for name in first if ".lora_A." in name]
    for other in (fresh(model, seed=2), fresh(model, adapter_id="b")):
        assert not any(torch.equal(first[name], other[name]) for name in a_names)
    together = RECIPE.model_copy(update={"start": "shared"})
    shared, beside, later = (fresh(model, together, *of) for of in (("a", 1), ("b", 1), ("a", 2)))
    assert all(torch.equal(shared[name], beside[name]) for name in first)
    assert not any(torch.equal(shared[name], other[name]) for name in a_names for other in (first, later))


def test_all_weights_are_copied_in_a_precision_that_holds_them_all(model: Model) -> None:
    base = AutoModelForCausalLM.from_pretrained(model.path)
    next(base.parameters()).data = next(base.parameters()).data.bfloat16()  # a base of two precisions
    copies = whole.WholeSheet(base).copies(0)
    for name, weight in base.named_parameters():
        assert torch.equal(copies[name], weight.float())
    assert {part.dtype for part in whole.WholeSheet(base.bfloat16()).parts} == {torch.bfloat16}


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
    base = AutoModelForCausalLM.from_pretrained(model.path).eval()
    modules = recipe.modules if isinstance(recipe.modules, str) else list(recipe.modules)
    adapter = lora.initial(recipe, sites_named(base, meant(base, modules)), "a", 1)
    generator = torch.Generator().manual_seed(0)
    for factors in adapter.modules.values():
        factors.b.normal_(generator=generator)
    lora.write(tmp_path, recipe, base, model, lora.named(adapter))
    tokens = torch.arange(3, 40)[None]
    bank = for_adapters(base, {0: adapter}, 1, torch.float32)
    with bank.rows([0]):
        expected = base(input_ids=tokens).logits
    reloaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model.path), tmp_path).eval()
    torch.testing.assert_close(reloaded(input_ids=tokens).logits, expected)

    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    text = (tmp_path / "adapter_config.json").read_text()
    assert str(Path(model.path).parent) not in text
    config = json.loads(text)
    assert config["base_model_name_or_path"] == model.name
    assert config["inference_mode"] is True
    assert set(config["target_modules"]) == set(model.modules if recipe is RECIPE else recipe.modules)
    assert read(tmp_path).modules.keys() == adapter.modules.keys()


@pytest.mark.processes
def test_a_full_disk_is_told_as_one(model: Model, tmp_path: Path) -> None:
    """Whatever writes the weights: ours, or transformers."""
    base = AutoModelForCausalLM.from_pretrained(model.path)
    adapter = lora.named(lora.initial(Lora(r=64, alpha=8), sites_named(base, meant(base, "all-linear")), "a", 1))
    with Disk(tmp_path / "disk") as disk:
        folders = [disk.where / "lora", disk.where / "whole"]
        for folder in folders:
            folder.mkdir()
        disk.fill()
        for write in (
            lambda: lora.write(folders[0], RECIPE, base, model, adapter),
            lambda: whole.write(folders[1], base, {}),
        ):
            with pytest.raises(OSError) as caught:
                write()
            assert caught.value.errno == errno.ENOSPC
