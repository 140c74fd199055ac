"""Options share their prompt where that changes nothing, in half precision too, where rounding hides small changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from evaluators.evaluator import Evaluator, Settings
from study.config import Scoring, TaskConfig
from study.store.store import Store
from tests.evaluators.conftest import make_docs, model_of, unit_of, write_task
from tests.support import zoo
from tests.support.yardsticks import CELL

pytestmark = pytest.mark.processes  # transformers loads DeepSpeed when it saves a model


@pytest.mark.parametrize(
    ("kind", "path"),
    [("llama", "shared"), ("mixtral", "shared"), ("lfm2", "plain"), ("recurrent_gemma", "plain"), ("mamba2", "plain")],
)
def test_a_layer_that_carries_its_state_on_is_found_in_half_precision(kind: str, path: str, tmp_path: Path) -> None:
    assert path_of(zoo.make(kind, tmp_path / "model"), tmp_path, "bfloat16") == {path}


def path_of(model: Path, scratch: Path, dtype: str) -> set[str]:
    """How a model's rows were laid out."""
    write_task(scratch / "tasks", "quiz_en", make_docs(4, seed=3))
    quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(scratch / "tasks"))
    store = Store(str(scratch / "store"))
    (result,) = Evaluator(model_of(model, dtype), store, Settings((quiz,), Scoring())).score([unit_of(CELL)])
    assert result.ok
    return {row["engine"].split()[0] for row in store.scores().to_pylist()}


@pytest.mark.parametrize(
    ("dtype", "share"),
    [
        ("bfloat16", 0.02),  # less than its rounding
        ("float32", 0.001),  # less than what a router's rounding may
    ],
)
def test_a_state_that_moves_less_than_rounding_may_is_found_too(dtype: str, share: float, tmp_path: Path) -> None:
    folder = zoo.make("lfm2", tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    for name, weight in model.named_parameters():
        if ".conv.conv." in name:
            weight.data *= share
    model.save_pretrained(folder)
    assert path_of(folder, tmp_path, dtype) == {"plain"}
