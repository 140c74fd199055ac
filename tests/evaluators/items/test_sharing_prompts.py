"""Options share their prompt where that changes nothing, in half precision too, where rounding hides small changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("ends", ["the longest items have options of one token", "the last option has one token"])
def test_items_that_do_not_branch_say_nothing_of_those_that_do(ends: str, tmp_path: Path) -> None:
    docs, dtype = make_docs(4, seed=3), "float32"
    if ends.startswith("the longest"):
        for doc in docs[:2]:
            doc.update(question=" ".join(["apple"] * 40), choices=["!", "?", "Z", "z"])
    else:
        for doc in docs:
            doc["choices"] = ["apple pear plum", "pear plum six", "s"]  # one token, of a larger number than theirs
            doc["answer"] = 0
        dtype = "bfloat16"  # in float32 the others would show it
    assert path_of(_little_state(tmp_path / "model"), tmp_path, dtype, docs) == {"plain"}
    assert path_of(zoo.make("llama", tmp_path / "llama"), tmp_path / "other", dtype, docs) == {"shared"}


def path_of(model: Path, scratch: Path, dtype: str, docs: list[dict[str, Any]] | None = None) -> set[str]:
    """How a model's rows were laid out."""
    write_task(scratch / "tasks", "quiz_en", docs or make_docs(4, seed=3))
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
    assert path_of(_little_state(tmp_path / "model", share), tmp_path, dtype) == {"plain"}


def _little_state(folder: Path, share: float = 0.02) -> Path:
    """An lfm2 whose state counts for less than by default."""
    zoo.make("lfm2", folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for name, weight in model.named_parameters():
        if ".conv.conv." in name:
            weight.data *= share
    model.save_pretrained(folder)
    return folder
