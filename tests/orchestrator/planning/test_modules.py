"""Modules that a recipe names are asked of PEFT while the study is planned: those of the model as it is loaded."""

from __future__ import annotations

import pytest

from orchestrator.planning.modules import check_modules
from study.config.file import parse
from study.errors import ConfigError
from study.models.resolve import Model


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
    check_modules(parse(text, [f"recipe.lora.modules={modules}"]), [model])


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
