"""Adapters by names that older libraries had: of single experts, and of a language model within another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from evaluators.evaluator import Evaluator, Settings
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.store.layout import WEIGHTS_FILE
from study.store.store import Store
from tests.evaluators.conftest import make_docs, model_of, put_adapter, unit_of, write_task
from tests.evaluators.test_parity import compare
from tests.support import peft_zoo, zoo

pytestmark = pytest.mark.processes  # PEFT loads deepspeed where one parameter holds several experts


def quiz_in(folder: Path) -> TaskConfig:
    write_task(folder, "quiz_en", make_docs(4, seed=3))
    return TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))


@pytest.mark.parametrize(("kind", "refused"), [("qwen3_moe", ""), ("qwen2_moe", "is no part of the adapter")])
def test_single_experts_are_scored_as_lm_eval_does_where_peft_puts_them_together(
    kind: str, refused: str, tmp_path: Path, harness: Any
) -> None:
    model, quiz = zoo.make(kind, tmp_path / "model"), quiz_in(tmp_path / "tasks")
    folder = peft_zoo.make(model, tmp_path / "adapter", peft_zoo.per_expert(kind), seed=7)
    store = Store(str(tmp_path / "store"))
    unit = unit_of(Cell("quiz", "en"), put_adapter(store, folder, "a"))
    (result,) = Evaluator(model_of(model), store, Settings((quiz,), Scoring())).score([unit])
    if refused:
        assert (result.ok, result.kind) == (False, "bad_data")
        assert refused in str(result.message)
        return
    assert result.ok, result.traceback
    compare(store, unit, *harness(model, quiz, "en", Scoring(), folder))


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
