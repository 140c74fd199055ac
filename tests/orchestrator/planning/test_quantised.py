"""Models whose weights are quantised: what a plan refuses of them, tells of them, and trains together."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.planning.modules import check_kinds
from orchestrator.planning.remarks import of_models
from orchestrator.scheduling.gangs import gang_size
from orchestrator.scheduling.room import Tokens
from study.config import ModelConfig, Recipe, Training
from study.config.file import parse
from study.errors import ConfigError
from study.models.resolve import Model, resolve, resolve_all
from tests.support.quantised import QUANTISATIONS

REFUSED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "all weights": ("recipe.lora=null", QUANTISATIONS, "recipe.lora = 'None': trains all weights"),
    "a part taken out": ("recipe.lora.init=pissa", QUANTISATIONS, "recipe.lora.init = 'pissa': takes a part"),
    "DoRA": ("recipe.kind=dora", ("int8",), "recipe.kind = 'dora': PEFT does not compute it"),
    "ZeRO 3": ("training.deepspeed={zero_optimization: {stage: 3}}", QUANTISATIONS, "stage = '3': spreads weights"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused_by_the_plan(name: str, tiny_model_dir: Path) -> None:
    change, quantisations, told = REFUSED[name]
    for quantization in (None, *QUANTISATIONS):
        entry = f"models: [{{id: '{tiny_model_dir}', quantization: {quantization or 'null'}}}]\n"
        rest = "languages: [en]\ntasks: [{name: arc, lm_eval: 'arc_{language}'}]\nrecipe: {lora: {r: 4}}"
        config = parse(entry + rest, (change,))
        models = resolve_all(config)
        if quantization in quantisations:
            with pytest.raises(ConfigError) as refused:
                check_kinds(config, models)
            assert told in str(refused.value)
        else:
            check_kinds(config, models)


def test_no_two_adapters_share_a_batch_that_is_rounded_as_a_whole(tiny_model_dir: Path) -> None:
    for how in (Training(), Training(gang_size=4)):
        sizes = {
            one: gang_size(how, Recipe(), of(tiny_model_dir, one), 4 << 30, Tokens(30, 0.1))
            for one in (None, *QUANTISATIONS)
        }
        assert sizes["int8"] == 1 < sizes["nf4"] == sizes[None]


def test_a_plan_tells_what_a_model_holds(tiny_model_dir: Path) -> None:
    assert list(of_models([of(tiny_model_dir, None)], True)) == []
    told = {one: list(of_models([of(tiny_model_dir, one)], True)) for one in QUANTISATIONS}
    for quantization, [line] in told.items():
        assert f"linear modules hold {quantization}" in line
        assert line.endswith("one at a time") is (quantization == "int8")


def of(folder: Path, quantization: str | None) -> Model:
    entry = ModelConfig.model_validate({"id": str(folder), "quantization": quantization})
    return resolve(entry, "float32", "models[0]")
