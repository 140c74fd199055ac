"""With which adapters made elsewhere training by a recipe can begin."""

from __future__ import annotations

from pathlib import Path

import pytest
from peft import LoraConfig

from adapters.folders.folder import UnsupportedAdapter
from adapters.kinds.lora_start import check_start
from orchestrator.planning.given import check_starts
from study.config import Lora, ModelConfig, StudyConfig
from study.errors import ConfigError
from study.models.resolve import Model, resolve
from study.units import GivenAdapter
from tests.support.compositions import saved


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Model:
    return resolve(ModelConfig(id=str(tiny_model_dir)), "float32", "models[0]")


PLAIN = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
LORA = Lora(r=4, alpha=8)


def study(**recipe: object) -> StudyConfig:
    tasks = [{"name": "a", "lm_eval": "a_{language}"}]
    return StudyConfig.model_validate({"models": [{"id": "m"}], "languages": ["de"], "tasks": tasks, "recipe": recipe})


@pytest.mark.parametrize(
    ("changes", "lora", "problem"),
    [
        ({}, LORA, None),
        ({"target_modules": ["q_proj", "v_proj"]}, Lora(r=4, alpha=8, modules=("v_proj", "q_proj")), None),
        ({"use_rslora": True}, Lora(r=4, alpha=8, rslora=True), None),
        ({}, Lora(r=8, alpha=8), "its r is 4, and by recipe.lora it is 8"),
        ({}, Lora(r=4, alpha=4), "its lora_alpha is 8"),
        ({"use_rslora": True}, LORA, "its use_rslora is True"),
        ({"use_dora": True}, LORA, "use_dora"),
        ({"rank_pattern": {"q_proj": 2}}, LORA, "its rank_pattern gives some modules"),
        ({"target_modules": ["q_proj", "v_proj"]}, LORA, "recipe.lora adapts .*, and it does not"),
        ({}, Lora(r=4, alpha=8, modules=("q_proj",)), "it adapts .*, and recipe.lora does not"),
    ],
)
def test_of_the_recipes_shape_or_of_none(
    tiny_model_dir: Path, model: Model, tmp_path: Path, changes: dict[str, object], lora: Lora, problem: str | None
) -> None:
    folder = saved(tiny_model_dir, LoraConfig(**{**PLAIN, **changes}), tmp_path / "adapter", 1)
    if problem is None:
        return check_start(folder, lora, model)
    with pytest.raises(UnsupportedAdapter, match=problem):
        check_start(folder, lora, model)
    start = GivenAdapter("1" * 16, model.name, "chat", None, str(folder))
    with pytest.raises(ConfigError, match=f"'chat': cannot begin a stage: .*{problem}"):
        check_starts([start], study(lora=lora.model_dump()), [model])
    return None


@pytest.mark.parametrize("changes", [{"kind": "dora"}, {"lora": {"init": "pissa"}}])
def test_plain_lora_begins_no_other_kind(model: Model, changes: dict[str, object]) -> None:
    start = GivenAdapter("1" * 16, model.name, "chat", None, "/nowhere")
    with pytest.raises(ConfigError, match="it is plain LoRA, and by the recipe that is"):
        check_starts([start], study(**changes), [model])
