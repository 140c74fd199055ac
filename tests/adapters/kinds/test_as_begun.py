"""Weights that make of a base what it was are told from those that do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapters.kinds.kind import kind_of
from study.config import Lora, Recipe
from study.errors import ConfigError
from tests.support import zoo


def test_an_adapter_is_as_begun_while_b_is_nothing() -> None:
    kind, base = kind_of(Recipe(lora=Lora(r=2))), zoo.build("llama", 320)
    weights = {"m.lora_A.weight": torch.ones(2, 3), "m.lora_B.weight": torch.zeros(3, 2)}
    assert kind.is_as_begun(base, weights)
    weights["m.lora_B.weight"][1, 1] = 1e-30
    assert not kind.is_as_begun(base, weights)


def test_what_begins_with_a_part_of_the_base_is_as_begun_while_it_is_that_part() -> None:
    kind, base = kind_of(Recipe(lora=Lora(r=2, init="pissa"))), zoo.build("llama", 320)
    sheet: Any = kind.sheet(base, [("a", 1)], torch.device("cpu"))
    assert kind.is_as_begun(base, sheet.copies(0))
    sheet.weights.data[0, 5] += 1e-3
    assert not kind.is_as_begun(base, sheet.copies(0))
    with pytest.raises(ConfigError, match=r"recipe\.lora\.r = '999': is more than model\.layers\.0\S+ has"):
        kind_of(Recipe(lora=Lora(r=999, init="olora"))).sheet(base, [("a", 1)], torch.device("cpu"))


def test_a_whole_model_is_as_begun_while_it_is_the_base() -> None:
    kind, base = kind_of(Recipe(lora=None)), zoo.build("llama", 320)
    weights: dict[str, Any] = {name: weight.detach().clone() for name, weight in base.named_parameters()}
    assert kind.is_as_begun(base, weights)
    weights["model.norm.weight"][3] += 1e-6
    assert not kind.is_as_begun(base, weights)
