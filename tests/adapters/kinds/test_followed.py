"""What a plan counts of a base that is no plain stack of linear modules is what its adapters have and a step keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters.base.loading import load_model, shell_of
from adapters.kinds.followed import body_of
from adapters.kinds.kind import kind_of
from study.config import Lora, ModelConfig, Recipe
from study.models.resolve import Model, resolve
from tests.support import zoo

pytestmark = pytest.mark.processes  # transformers loads DeepSpeed when it saves a model


def model_of(kind: str, folder: Path) -> Model:
    return resolve(ModelConfig(id=str(zoo.make(kind, folder))), "float32", "models[0]")


@pytest.mark.parametrize("kind", ["zamba", "hrm_text", "mixtral", "mamba"])
def test_weights_are_those_of_a_sheet(kind: str, tmp_path: Path) -> None:
    """Of a block that stands in several places, of one whose matrices lie together in files, of experts, of a scan."""
    model, tuning = model_of(kind, tmp_path), kind_of(Recipe(lora=Lora(r=4)))
    assert model.is_mixed
    by_files = tuning.member(model)
    model = replace(model, body=body_of(shell_of(model), model.body, model.dtype, are_all_meant=True))
    found: Any = tuning.member(model)
    sheet: Any = tuning.sheet(load_model(model), [("a", 0)], torch.device("cpu"))
    assert found.weights == sheet.weights.shape[1]
    assert found != by_files
    assert model.body.beyond > found.numbers / 4


def test_a_base_that_needs_numbers_to_be_followed_is_counted_by_its_modules(tmp_path: Path) -> None:
    model = model_of("reformer", tmp_path)
    assert body_of(shell_of(model), model.body, model.dtype, are_all_meant=True).beyond == 0
