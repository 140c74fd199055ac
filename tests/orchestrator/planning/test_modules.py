"""Modules that a recipe names are asked of PEFT while the study is planned: those of the model as it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.planning.modules import check_kinds, with_modules
from study.config import ModelConfig, Recipe
from study.config.file import parse
from study.errors import ConfigError
from study.identity import adapter_ids
from study.models.resolve import Model, resolve
from tests.support import zoo


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A mixture of experts, which transformers holds as fused matrices though its files may name each expert's."""
    from transformers import Qwen3MoeConfig

    folder = tmp_path_factory.mktemp("mixture")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "moe_intermediate_size": 8, "vocab_size": 64, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 2, "num_experts": 4}
    Qwen3MoeConfig(**sizes, **heads, num_experts_per_tok=2).save_pretrained(folder)
    return Model("m", str(folder), None, "m", "float32", "m", 1.0, 10, False, ("q_proj", "gate_proj", "up_proj"))


def check(model: Model, modules: str) -> None:
    text = "models: [{id: m}]\nlanguages: [en]\ntasks: [{name: arc, lm_eval: 'arc_{language}'}]"
    with_modules(parse(text, [f"recipe.lora.modules={modules}"]), [model])


def test_linear_modules_can_be_named(mixture: Model) -> None:
    check(mixture, "[q_proj, v_proj]")
    check(mixture, "all-linear")


def test_a_fused_expert_cannot_be_named(mixture: Model) -> None:
    with pytest.raises(ConfigError, match=r"recipe.lora.modules = .*m: PEFT does not adapt .*fused into gate_up_proj"):
        check(mixture, "[q_proj, gate_proj]")
    with pytest.raises(ConfigError, match=r"recipe.lora.modules = .*PEFT reads these names as .*experts"):
        check(mixture, "[q_proj, gate_proj, up_proj]")


def test_a_name_that_is_in_the_files_alone_is_refused(mixture: Model) -> None:
    with pytest.raises(ConfigError, match=r"= 'dense': m has no linear module of this name .*it has q_proj"):
        check(mixture, "[q_proj, dense]")
    with pytest.raises(ConfigError, match=r"recipe.lora.modules = .*m: PEFT does not adapt"):
        check(mixture, "[dense]")


@pytest.mark.processes  # transformers loads DeepSpeed when it saves a model
@pytest.mark.parametrize(
    ("kind", "differs"), [("llama", False), ("gpt2", False), ("ctrl", False), ("mamba", True), ("glm4_moe", True)]
)
def test_adapters_grow_stale_where_other_modules_are_trained_than_at_first(
    kind: str, differs: bool, tmp_path: Path
) -> None:
    text = "models: [{id: m}]\nlanguages: [en]\ntasks: [{name: arc, lm_eval: 'arc_{language}'}]"
    model = resolve(ModelConfig(id=str(zoo.make(kind, tmp_path / kind))), "float32", "models[0]")
    (found,) = with_modules(parse(text), [model])
    assert bool(found.adapts) == differs
    assert (found == model) != differs
    before, now = (adapter_ids(one.identity, Recipe(), one.adapts)(["x"], 1) for one in (model, found))
    assert (before != now) == differs


def test_a_text_is_as_long_as_its_task_says(tmp_path: Path) -> None:
    from transformers import GPT2Config

    GPT2Config(n_positions=64, n_embd=16, n_layer=1, n_head=2, vocab_size=64).save_pretrained(tmp_path)
    model = Model("m", str(tmp_path), None, "m", "float32", "m", 1.0, 10, False, ())
    text = "models: [{id: m}]\nlanguages: [en]\ntasks: [{name: arc, lm_eval: 'arc_{language}'}]"
    stated = ["recipe.kind=prompt_tuning", "recipe.max_length=44"]
    check_kinds(parse(text, stated), [model])
    for longer in ("recipe.max_length=45", "tasks.0.train={max_length: 45}"):
        with pytest.raises(ConfigError, match=r"num_virtual_tokens = '20': and texts of up to 45 tokens .* the 64 pos"):
            check_kinds(parse(text, [*stated, longer]), [model])
