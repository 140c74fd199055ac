"""Adapters that are a prompt of trained vectors, beside lm-eval's `hf` model with `peft=`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluators.evaluator import Evaluator, Settings
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.store.layout import CONFIG_FILE
from study.store.store import Store
from study.units import AdapterUnit
from tests.evaluators.conftest import make_docs, model_of, put_adapter, unit_of, write_task
from tests.evaluators.test_parity import compare
from tests.evaluators.test_texts import ROLLING, WRITING
from tests.support import peft_zoo

VIRTUAL = 4
KINDS = ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING")


@pytest.fixture(scope="module")
def quiz(tmp_path_factory: pytest.TempPathFactory) -> TaskConfig:
    folder = tmp_path_factory.mktemp("tasks")
    docs = make_docs(7, seed=2, long=200)  # some longer than the model reads
    write_task(folder, "quiz_choice", docs)
    write_task(folder, "quiz_rolling", docs, **ROLLING)
    write_task(folder, "quiz_writing", docs, **WRITING)
    return TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))


@pytest.fixture(scope="module")
def scores(quiz: TaskConfig, outspoken_model: Path, tmp_path_factory: Any) -> tuple[Store, Evaluator]:
    store = Store(str(tmp_path_factory.mktemp("prompts")))
    return store, Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring()))


def made(store: Store, model: Path, folder: Path, kind: str) -> tuple[Path, AdapterUnit]:
    peft_zoo.make(model, folder, peft_zoo.kinds("llama")[kind], seed=3)
    return folder, put_adapter(store, folder, f"{kind}-{folder.name}")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_scored_and_written_is_lm_evals_where_the_vectors_take_their_room(
    kind: str, scores: Any, quiz: TaskConfig, outspoken_model: Path, tmp_path: Path, harness: Any
) -> None:
    store, evaluator = scores
    folder, unit = made(store, outspoken_model, tmp_path / "adapter", kind)
    room = evaluator._encoder.max_length - VIRTUAL
    units = [unit_of(Cell("quiz", language), unit) for language in ("choice", "rolling", "writing")]
    results = evaluator.score(units)
    assert [result.message for result in results] == [None] * 3
    choice, rolling, writing = (
        harness(outspoken_model, quiz, one.target.language, Scoring(), folder, max_length=room, batch_size=1)
        for one in units
    )
    compare(store, units[0], *choice)
    found = {
        one.target.language: sorted(
            (row for row in store.items().to_pylist() if row["score_id"] == one.score_id), key=lambda row: row["doc_id"]
        )
        for one in units[1:]
    }
    assert [row["loglikelihoods"][0] for row in found["rolling"]] == pytest.approx(
        [sample["resps"][0][0] for sample in rolling[1]], abs=2e-3
    )
    assert [row["generation"] for row in found["writing"]] == [sample["resps"][0][0] for sample in writing[1]]


def test_a_base_scores_the_same_before_and_after(scores: Any, outspoken_model: Path, tmp_path: Path) -> None:
    store, evaluator = scores
    _, unit = made(store, outspoken_model, tmp_path / "adapter", "PREFIX_TUNING")
    found = []
    for subject in (None, unit, None):
        (result,) = evaluator.score([unit_of(Cell("quiz", "choice"), subject)])
        assert result.ok, result.traceback
        found.append(result.metrics)
    assert found[0] == found[2]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"task_type": None}, "task_type is None, not CAUSAL_LM: PEFT would leave its prompt out"),
        ({"num_virtual_tokens": 100_000}, "100000 virtual tokens leave no room"),
        ({"num_virtual_tokens": VIRTUAL + 1}, "size mismatch"),
    ],
)
def test_a_prompt_that_cannot_be_put_before_a_text_is_refused(
    changed: dict[str, Any], words: str, scores: Any, outspoken_model: Path, tmp_path: Path
) -> None:
    store, evaluator = scores
    folder = peft_zoo.make(outspoken_model, tmp_path / "adapter", peft_zoo.kinds("llama")["PROMPT_TUNING"], seed=3)
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    (folder / CONFIG_FILE).write_text(json.dumps(config | changed), encoding="utf-8")
    unit = put_adapter(store, folder, f"changed-{words[:8]}")
    (result,) = evaluator.score([unit_of(Cell("quiz", "choice"), unit)])
    assert (result.ok, result.kind) == (False, "bad_data")
    assert words in str(result.message)
