"""Kinds of tuning: what each answers, and that a plan may ask it without loading torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from adapters.kinds.kind import kind_of
from study.config import Ia3, Lora, PrefixTuning, Recipe
from study.models.resolve import Model
from study.models.shapes import Body, Linear

LORA, WHOLE = Recipe(lora=Lora(r=8, alpha=16, dropout=0.1)), Recipe(lora=None)
DORA, PISSA = Recipe(kind="dora", lora=LORA.lora), Recipe(lora=Lora(r=8, init="pissa", lr_ratio=4))

IA3, PROMPTS = Recipe(kind="ia3"), Recipe(kind="prompt_tuning")
PREFIX = Recipe(kind="prefix_tuning", prefix_tuning=PrefixTuning(num_virtual_tokens=8))


@pytest.mark.processes
def test_a_kind_can_be_asked_without_torch() -> None:
    asked = (
        "import sys; from adapters.kinds.kind import kind_of; from study.config import Recipe; "
        "print(kind_of(Recipe()).shares_base, *({'torch', 'peft', 'transformers'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "True"


@pytest.mark.parametrize(
    ("recipe", "shares_base", "dropout", "train_flops", "weights", "words"),
    [
        (LORA, True, 0.1, 4, 8 * 40, "LoRA, r 8, alpha 16"),
        (DORA, True, 0.1, 4, 8 * 40 + 22, "DoRA, r 8, alpha 16"),
        (PISSA, True, 0.0, 4, 8 * 40, "PiSSA, r 8, alpha 64, B at 4 times the rate (LoRA+)"),
        (IA3, False, 0.0, 4, None, "IA3"),
        (PROMPTS, False, 0.0, 4, None, "prompt tuning, 20 virtual tokens"),
        (PREFIX, False, 0.0, 4, None, "prefix tuning, 8 virtual tokens"),
        (WHOLE, False, 0.0, 6, None, "full fine-tuning"),
    ],
)
def test_what_a_kind_answers(
    recipe: Recipe, shares_base: bool, dropout: float, train_flops: int, weights: int | None, words: str
) -> None:
    kind = kind_of(recipe)
    assert (kind.shares_base, kind.dropout, kind.train_flops) == (shares_base, dropout, train_flops)
    body = Body((Linear("q_proj", 2, 12, 16), Linear("v_proj", 2, 6, 6)))
    member = kind.member(Model("m", "m", None, "m", "float32", "m", 1.0, 10, False, (), body=body))
    assert (member and member.weights) == weights
    assert (member is None) is not shares_base
    assert recipe.tuning == words
    assert recipe.trains_all is (recipe is WHOLE)
    assert (kind.remark is None) is (shares_base or recipe is WHOLE)
    assert kind.virtual_tokens == (20 if recipe is PROMPTS else 0)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (LORA.model_dump(mode="json"), "LoRA, r 8, alpha 16"),
        ({"lora": None, "epochs": 1}, "full fine-tuning"),
        ({"lora": {"r": 4, "of_a_later_release": 1}, "of_a_later_release": {}}, "LoRA, r 4, alpha 64"),
    ],
)
def test_a_record_states_its_recipe(stated: dict[str, Any], words: str) -> None:
    assert Recipe.of_record(stated).tuning == words


def test_named_modules_are_those_that_a_base_must_have() -> None:
    assert Recipe(lora=Lora(modules=("q_proj",))).named_modules == ("q_proj",)
    assert LORA.named_modules == WHOLE.named_modules == IA3.named_modules == ()
    named = Recipe(kind="ia3", ia3=Ia3(modules=("k_proj",)), lora=Lora(modules=("q_proj",)))
    assert (named.named_modules, named.modules_key) == (("k_proj",), "ia3.modules")
