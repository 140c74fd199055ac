"""What a study asks of a model beside weights is known while the study is planned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.config.file import parse
from study.errors import ConfigError
from study.models.fits import _causal_types, check_fits
from study.models.resolve import resolve_all


def check(folder: Path, *overrides: str) -> None:
    config = parse(
        f"models: [{{id: '{folder}'}}]\nlanguages: [en]\ntasks: [{{name: arc, lm_eval: 'arc_{{language}}'}}]", overrides
    )
    check_fits(config, tuple(resolve_all(config)))


@pytest.fixture
def model(tiny_model_dir: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    return tmp_path / "model"


def change(folder: Path, name: str, how: Callable[[dict[str, Any]], object]) -> None:
    told = json.loads((folder / name).read_text())
    how(told)
    (folder / name).write_text(json.dumps(told))


def test_a_whole_model_fits(model: Path) -> None:
    check(model)


def test_a_model_is_of_a_type_that_transformers_has(model: Path) -> None:
    change(model, "config.json", lambda config: config.update(model_type="lamma"))
    with pytest.raises(
        ConfigError, match="no causal language model that transformers knows: its model_type is 'lamma'"
    ):
        check(model)
    check(model, "models.0.trust_remote_code=true")


@pytest.mark.parametrize(
    ("kind", "turned"),
    [("bert", "is_decoder"), ("xlm-roberta", "is_decoder"), ("xlm", "causal"), ("xlnet", None), ("cpmant", None)],
)
def test_a_type_that_reads_later_tokens_is_refused_unless_its_config_turns_it(
    kind: str, turned: str | None, model: Path
) -> None:
    change(model, "config.json", lambda config: config.update(model_type=kind))
    with pytest.raises(ConfigError, match=r"models\[0\]\.id = .*is no causal language model"):
        check(model)
    if turned is not None:
        change(model, "config.json", lambda config: config.update({turned: True}))
        check(model)


def test_a_tokenizer_that_is_code_of_its_own_is_refused_unless_it_is_trusted(model: Path) -> None:
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    change(model, "tokenizer_config.json", lambda told: told.update(own))
    (model / "own.py").write_text("raise SystemExit")
    with pytest.raises(ConfigError, match="its tokenizer is made by code that its folder brings with it"):
        check(model)
    check(model, "models.0.trust_remote_code=true")


def test_the_types_of_models_are_transformers_own() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    assert _causal_types() == MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys()


@pytest.mark.parametrize("told", [{"quant_method": "bitsandbytes", "load_in_4bit": True}, {"load_in_8bit": True}])
def test_a_model_is_quantised_once(told: dict[str, Any], model: Path) -> None:
    change(model, "config.json", lambda config: config.update(quantization_config=told))
    check(model)
    with pytest.raises(ConfigError, match=r"models\[0\].quantization = 'nf4': the weights of .* are quantised already"):
        check(model, "models=[{id: " + str(model) + ", quantization: nf4}]")


def test_an_evaluator_has_no_more_gpus_than_a_base_has_layers_and_none_but_one_where_it_is_quantised(
    model: Path,
) -> None:
    check(model, "evaluators.resources={GPU: 2}")
    with pytest.raises(ConfigError, match=r"evaluators\.resources = '\{GPU: 3\}'.* has 2 layers"):
        check(model, "evaluators.resources={GPU: 3}")
    quantised = f"models=[{{id: '{model}', quantization: nf4}}]"
    check(model, quantised)
    with pytest.raises(ConfigError, match=r"evaluators\.resources = '\{GPU: 2\}'.* is quantised \(nf4\)"):
        check(model, quantised, "evaluators.resources={GPU: 2}")


@pytest.mark.parametrize(("method", "library"), [("gptq", "gptqmodel"), ("awq", "gptqmodel"), ("hqq", "hqq")])
def test_a_quantised_model_needs_its_library(method: str, library: str, model: Path) -> None:
    change(model, "config.json", lambda config: config.update(quantization_config={"quant_method": method}))
    with pytest.raises(ConfigError, match=f"quantised by {method}, and the library {library} is not installed"):
        check(model)


def test_a_chat_needs_a_template(model: Path) -> None:
    (model / "chat_template.jinja").unlink(missing_ok=True)
    change(model, "tokenizer_config.json", lambda told: told.pop("chat_template", None))
    check(model)
    with pytest.raises(ConfigError, match=r"scoring.apply_chat_template .*the tokenizer of model has no chat template"):
        check(model, "scoring.apply_chat_template=true")
    (model / "chat_template.jinja").write_text("{{ messages[-1].content }}")
    check(model, "scoring.apply_chat_template=true")


def test_a_chat_template_that_is_named_has_to_be_there(model: Path) -> None:
    several = [{"name": "default", "template": "plain"}, {"name": "tools", "template": "{{ messages[-1].content }}!"}]
    (model / "chat_template.jinja").unlink(missing_ok=True)
    change(model, "tokenizer_config.json", lambda told: told.update(chat_template=several))
    check(model, "scoring.apply_chat_template=tools")
    with pytest.raises(ConfigError, match=r"(?s)'tool'.*no chat template of that name.*default, tools"):
        check(model, "scoring.apply_chat_template=tool")
    (model / "chat_template.jinja").write_text("{{ messages[-1].content }}")
    change(model, "tokenizer_config.json", lambda told: told.pop("chat_template"))
    with pytest.raises(ConfigError, match=r"(?s)no chat template of that name.*it has one: write true"):
        check(model, "scoring.apply_chat_template=tools")


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ messages[0].content }}{{ messages[1].content }}", None),
        ("{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}", "no system role"),
        ("{{ messages[-1].content }}", "leaves it out"),
    ],
)
def test_a_system_prompt_has_to_reach_the_text(template: str, says: str | None, model: Path) -> None:
    (model / "chat_template.jinja").write_text(template)
    overrides = ("scoring.apply_chat_template=true", "scoring.system_prompt=Be brief.")
    if says is None:
        check(model, *overrides)
        return
    with pytest.raises(ConfigError, match=rf"scoring.system_prompt = 'Be brief.': the chat template .*{says}"):
        check(model, *overrides)


@pytest.mark.parametrize("special", [False, True])
def test_the_embedding_has_a_row_for_each_token_that_a_text_can_become(special: bool, model: Path) -> None:
    """A special token beyond it is harmless while nothing writes it: Gemma 3 has one for images."""
    rows = json.loads((model / "config.json").read_text())["vocab_size"]
    token = {
        "id": rows,
        "content": "<more>",
        "special": special,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
    }
    change(model, "tokenizer.json", lambda told: told["added_tokens"].append({**token, "normalized": False}))
    if special:
        check(model)
        (model / "chat_template.jinja").write_text("<more>{{ messages[-1].content }}")
    with pytest.raises(ConfigError, match=rf"makes token {rows} of '<more>', and its embedding has {rows} rows"):
        check(model, *(["scoring.apply_chat_template=true"] if special else []))
