"""A composed folder is plain LoRA: PEFT loads it, we read it, and every way to run it says what dense merging does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from adapters.bank.bank import for_adapters
from adapters.composing.composed import Composed, compose
from adapters.composing.folder import write
from adapters.modules.plain import plain_lora
from evaluators.subjects.on_base import merged
from study.composition import Term
from tests.adapters.composing.conftest import World
from tests.support.compositions import Dense, composed, composition, dense

TOKENS = torch.arange(3, 43)[None]
WEIGHTS = {"a": 0.5, "b": -1.0, "c": 0.75}


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=TOKENS).logits
    return found


def merged_densely(world: World, matrices: Dense) -> torch.Tensor:
    model = world.fresh()
    for name, x in matrices.items():
        module = model.get_submodule(name)
        module.weight.data += (x if isinstance(module, torch.nn.Linear) else x.T).float()
    return logits(model)


def summed(world: World) -> Dense:
    found: Dense = {}
    for name, part in world.parts.items():
        for module, x in dense(part).items():
            found[module] = found.get(module, torch.zeros_like(x)) + WEIGHTS[name] * x
    return found


@pytest.fixture(params=["llama", "gpt2"])
def world(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    return found


def test_every_way_to_run_it_is_the_dense_merge(world: World, tmp_path: Path) -> None:
    """Ranks differ, so that patterns are written: modules have one, two or three of the parts, and some are small."""
    made = composed("sum", WEIGHTS, world.parts)
    write(tmp_path, made, world.model, world.base)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["rank_pattern"]
    assert config["rank_pattern"] == config["alpha_pattern"]
    expected = merged_densely(world, summed(world))
    assert (expected - logits(world.base)).abs().max() > 0.1, "it should do something"

    by_peft = logits(PeftModel.from_pretrained(world.fresh(), tmp_path).eval())
    torch.testing.assert_close(by_peft, expected, rtol=0, atol=1e-4)
    read = plain_lora(tmp_path, world.base)
    assert read is not None
    with merged(world.base, read):
        torch.testing.assert_close(logits(world.base), expected, rtol=0, atol=1e-4)
    bank = for_adapters(world.base, {0: read}, 1, torch.float32)
    with bank.rows([0]):
        torch.testing.assert_close(logits(world.base), expected, rtol=0, atol=1e-4)
    bank.detach()


def test_what_is_written_is_read(world: World, tmp_path: Path) -> None:
    made = composed("svd", WEIGHTS, world.parts, rank=5)
    write(tmp_path, made, world.model, world.base)
    read = plain_lora(tmp_path, world.base)
    assert read is not None
    assert read.modules.keys() == made.weights.modules.keys()
    for name, own in made.weights.modules.items():
        assert torch.equal(read.modules[name].a, own.a)
        assert torch.equal(read.modules[name].b, own.b)
        assert read.modules[name].scaling == 1


def test_a_zero_module_stays_plain(llama: World, tmp_path: Path) -> None:
    """Layer 0 alone, and the folder has all modules."""
    terms = [Term("a", layers=(1.0, 0.0))]
    made: Composed = compose(composition("sum", *terms), [llama.parts["a"]])
    write(tmp_path, made, llama.model, llama.base)
    assert sorted(set(json.loads((tmp_path / "adapter_config.json").read_text())["rank_pattern"].values())) == [1]
    assert plain_lora(tmp_path, llama.base) is not None
    expected = merged_densely(llama, {n: x for n, x in dense(llama.parts["a"]).items() if ".layers.0." in n})
    by_peft = logits(PeftModel.from_pretrained(llama.fresh(), tmp_path).eval())
    torch.testing.assert_close(by_peft, expected, rtol=0, atol=1e-4)


def test_equal_compositions_are_equal_bytes_without_a_path(llama: World, tmp_path: Path) -> None:
    for name, weights in (("one", WEIGHTS), ("two", dict(reversed(WEIGHTS.items())))):
        write(tmp_path / name, composed("sum", weights, llama.parts), llama.model, llama.base)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    text = (tmp_path / "one" / "adapter_config.json").read_text()
    assert str(Path(llama.model.path).parent) not in text
    assert json.loads(text)["base_model_name_or_path"] == llama.model.name
    assert json.loads(text)["use_rslora"] is False
