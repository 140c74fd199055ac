"""Texts that share rows are learned as in rows of their own, and refused where a base does not keep them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from study.config import Lora, ModelConfig, Recipe, Validation
from study.errors import ConfigError
from study.models.resolve import Model, resolve
from tests.support import zoo
from tests.support.training import RECIPE, Weights, assert_close, job, told, training
from trainers.engine import Engine
from trainers.job import Setup, Trained
from trainers.worker import Worker

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
GANG = [job("a", count=12), job("b", seed=8, count=17)]
DROPPING: dict[str, Any] = {"lora": Lora(r=4, alpha=8, dropout=0.2)}
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *((type_, DROPPING, {}) for type_ in ("llama", "qwen2", "gemma3_text", "gpt2", "mixtral")),
    ("llama", {"kind": "dora", **DROPPING}, {"gradient_checkpointing": True}),
    ("llama", DROPPING, {"stage": 3}),
    ("llama", {"kind": "ia3"}, {}),
    ("llama", {"lora": None}, {}),
]
MIXED = ("mamba", "lfm2", "opt", "bloom", "gpt_oss")  # recurrent, convolutions, masks that know nothing of texts


def made(type_: str, folder: Path) -> Model:
    return resolve(ModelConfig(id=str(zoo.make(type_, folder / type_))), "float32", "models[0]")


def learned(worker: Worker, model: Model, out: Path, changes: dict[str, Any], **how: Any) -> list[Trained]:
    more = {"validation": Validation(fraction=0.2, keep="last"), "batch_size": 8, "epochs": 1}
    recipe: Recipe = RECIPE.model_copy(update={**more, **changes})
    gang = GANG if recipe.low_rank is not None else GANG[1:]
    found = worker.train(Setup(model, recipe, training(**how)), gang, out)
    assert all(isinstance(one, Trained) for one in found), found
    return [one for one in found if isinstance(one, Trained)]


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Of each step what its micro-batches come to, where all that is trained is one parameter."""
    found, taken, step = [torch.zeros(())], Engine._without_bad, Engine.step

    def noted(engine: Engine, gradient_KP: torch.Tensor) -> torch.Tensor:
        if len(engine._sheet.parts) == 1:
            found[-1] = found[-1] + gradient_KP
        return taken(engine, gradient_KP)

    def ended(engine: Engine, *arguments: Any) -> None:
        found.append(torch.zeros(()))
        step(engine, *arguments)

    monkeypatch.setattr(Engine, "_without_bad", noted)
    monkeypatch.setattr(Engine, "step", ended)
    return found


def weights_of(one: Trained) -> Weights:
    [file] = one.folder.glob("*.safetensors")
    return load_file(file)


@pytest.mark.parametrize(("type_", "changes", "how"), CASES)
def test_an_adapter_is_what_it_is_by_itself(
    type_: str,
    changes: dict[str, Any],
    how: dict[str, Any],
    worker: Worker,
    tmp_path: Path,
    gradients: list[torch.Tensor],
) -> None:
    """In a gang of two that have other lengths, with dropout, of which a text has its own: gradients and weights.

    Gradients of the first step: AdamW makes a whole step of a vanishing one, so later ones begin elsewhere.
    """
    model = made(type_, tmp_path)
    apart, together = (
        learned(worker, model, tmp_path / str(packs), changes, packing=packs, **how) for packs in (False, True)
    )
    first, second = gradients[0], gradients[len(gradients) // 2]
    assert (first - second).abs().max() <= 1e-5 * first.abs().max()
    for one, other in zip(apart, together, strict=True):
        assert_close(weights_of(other), weights_of(one))
        for mine, its in zip(told(other)["epochs"], told(one)["epochs"], strict=True):
            assert mine == pytest.approx(its, rel=1e-5)
        assert other.course.tokens.padded < one.course.tokens.padded


@pytest.mark.parametrize("type_", MIXED)
def test_what_mixes_texts_is_refused(type_: str, worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"training\.packing = 'True': {type_} lets texts of a row read each other"):
        learned(worker, made(type_, tmp_path), tmp_path, DROPPING, packing=True)
