"""Adapters by names that older libraries had: of single experts, and of a language model within another."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from evaluators.evaluator import Evaluator, Settings
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary
from study.store.layout import WEIGHTS_FILE
from study.store.store import Store
from study.units import ScoreUnit
from tests.evaluators.conftest import make_docs, model_of, put_adapter, unit_of, write_task
from tests.evaluators.test_parity import compare
from tests.support import peft_zoo, zoo
from tests.support.yardsticks import by_hand, largest

pytestmark = pytest.mark.processes  # PEFT loads deepspeed where one parameter holds several experts


def quiz_in(folder: Path) -> TaskConfig:
    write_task(folder, "quiz_en", make_docs(4, seed=3))
    return TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))


def scored(model: Path, folder: Path, scratch: Path) -> tuple[Store, ScoreUnit, TaskConfig]:
    store, quiz = Store(str(scratch / "store")), quiz_in(scratch / "tasks")
    unit = unit_of(Cell("quiz", "en"), put_adapter(store, folder, "a"))
    (result,) = Evaluator(model_of(model), store, Settings((quiz,), Scoring())).score([unit])
    assert result.ok, result.traceback
    return store, unit, quiz


def test_single_experts_are_scored_as_lm_eval_does_where_peft_puts_them_together(tmp_path: Path, harness: Any) -> None:
    model = zoo.make("qwen3_moe", tmp_path / "model")
    folder = peft_zoo.make(model, tmp_path / "adapter", peft_zoo.per_expert("qwen3_moe"), seed=7)
    store, unit, quiz = scored(model, folder, tmp_path)
    compare(store, unit, *harness(model, quiz, "en", Scoring(), folder))


@pytest.mark.parametrize("kind", ["qwen2_moe", "mixtral"])
def test_single_experts_are_what_each_expert_computes_with_its_own(kind: str, tmp_path: Path) -> None:
    """PEFT leaves those of Qwen2-MoE out with a warning, 2.3 nats off; with dropout it takes none of any type."""
    model = zoo.make(kind, tmp_path / "model")
    folder = peft_zoo.make(model, tmp_path / "adapter", {**peft_zoo.per_expert(kind), "lora_dropout": 0.1}, seed=7)
    store, _, quiz = scored(model, folder, tmp_path)
    whole: Any = AutoModelForCausalLM.from_pretrained(model)
    tensors = load_file(folder / WEIGHTS_FILE)
    for name in tensors:
        if name.endswith(".lora_A.weight"):
            add(whole, kind, name.removesuffix(".lora_A.weight"), tensors)
    whole.save_pretrained(tmp_path / "merged")
    shutil.copytree(model, tmp_path / "merged", dirs_exist_ok=True, ignore=shutil.ignore_patterns("model*"))
    expected = by_hand(model_of(tmp_path / "merged"), TaskLibrary((quiz,), Scoring()), None)
    alone = by_hand(model_of(model), TaskLibrary((quiz,), Scoring()), None)
    rows = sorted(store.items().to_pylist(), key=lambda row: row["doc_id"])
    assert largest([row["loglikelihoods"] for row in rows], expected) < 1e-3 < 0.5 < largest(expected, alone)


@torch.no_grad()
def add(model: Any, kind: str, name: str, tensors: dict[str, torch.Tensor]) -> None:
    """Add an update to the matrix that a module of older libraries held, within what holds it now."""
    update = 2.0 * tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]  # alpha 8, r 4
    place = name.removeprefix("base_model.model.")
    where, (gate, up, _) = peft_zoo.EXPERTS[kind]
    layer, found, single = place.partition(f".{where}.")
    if not found:
        model.get_submodule(place).weight += update
        return
    expert, matrix = single.split(".")
    experts = model.get_submodule(f"{layer}.mlp.experts")
    half = len(experts.gate_up_proj[0]) // 2
    into = experts.down_proj[int(expert)]
    if matrix in (gate, up):
        into = experts.gate_up_proj[int(expert)][:half] if matrix == gate else experts.gate_up_proj[int(expert)][half:]
    into += update


def test_names_of_a_language_model_within_another_are_refused(outspoken_model: Path, tmp_path: Path) -> None:
    folder = peft_zoo.make(outspoken_model, tmp_path / "adapter", peft_zoo.kinds("llama")["LORA"], seed=7)
    tensors = {
        name.replace("model.layers", "language_model.layers"): matrix
        for name, matrix in load_file(folder / WEIGHTS_FILE).items()
    }
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    store, quiz = Store(str(tmp_path / "store")), quiz_in(tmp_path / "tasks")
    unit = unit_of(Cell("quiz", "en"), put_adapter(store, folder, "a"))
    (result,) = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring())).score([unit])
    assert (result.ok, result.kind) == (False, "bad_data")
    assert "language_model" in str(result.message)
