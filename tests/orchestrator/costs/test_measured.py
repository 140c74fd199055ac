"""What training a token takes, by kind of tuning and by how it is run."""

from __future__ import annotations

import pytest

from orchestrator.costs.measured import train_flops, train_work
from study.config import Recipe
from study.config.file import parse

TEXT = "models: [{id: m}]\nlanguages: [en]\ntasks: [{name: arc, lm_eval: 'arc_{language}'}]"


@pytest.mark.parametrize(
    ("recipe", "again", "flops"), [("{}", "false", 4), ("{}", "true", 6), ("{lora: null}", "false", 6)]
)
def test_layers_that_are_computed_again_take_a_forward_pass_more(recipe: str, again: str, flops: int) -> None:
    config = parse(TEXT, [f"recipe={recipe}", f"training={{gradient_checkpointing: {again}}}"])
    assert train_flops(config, config.recipe) == flops


def test_virtual_tokens_are_work() -> None:
    """Those of prompts go through the model with each row and epoch; prefixes are read by attention alone."""
    prompts = Recipe(kind="prompt_tuning", epochs=3)
    assert train_work(900, 10, 0, prompts) == 900 + 20 * 10 * 3
    assert train_work(900, 10, 4, prompts) == pytest.approx((900 + 600) * (1 + 0.4 / 2))
    assert train_work(900, 10, 0, Recipe(kind="prefix_tuning")) == train_work(900, 10, 0, Recipe()) == 900
