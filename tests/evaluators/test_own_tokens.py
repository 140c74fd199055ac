"""Adapters with tokens and a tokenizer of their own, beside lm-eval's `hf` model with `tokenizer=` and `peft=`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluators.evaluator import Evaluator, Settings
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.store.layout import TOKENIZER_FILE, WEIGHTS_FILE
from study.store.store import Store
from tests.evaluators.conftest import make_docs, model_of, put_adapter, unit_of, write_task
from tests.evaluators.test_parity import compare
from tests.evaluators.test_texts import ROLLING, WRITING
from tests.support import peft_zoo

KINDS = ("LORA own tokens", "LORA own tokens saved", "LORA own tokens on both")


@pytest.fixture(scope="module")
def quiz(tmp_path_factory: pytest.TempPathFactory) -> TaskConfig:
    folder = tmp_path_factory.mktemp("tasks")
    docs = make_docs(7, seed=2, long=200)
    write_task(folder, "quiz_choice", docs)
    write_task(folder, "quiz_rolling", docs, **ROLLING)
    write_task(folder, "quiz_writing", docs, **WRITING)
    return TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))


@pytest.fixture(scope="module")
def scores(quiz: TaskConfig, outspoken_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    store = Store(str(tmp_path_factory.mktemp("own")))
    return store, Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring()))


def made(model: Path, folder: Path, kind: str) -> Path:
    return peft_zoo.make(model, folder, peft_zoo.kinds("llama")[kind], seed=3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_scored_is_lm_evals_and_the_base_stays(
    kind: str, scores: Any, quiz: TaskConfig, outspoken_model: Path, tmp_path: Path, harness: Any
) -> None:
    store, evaluator = scores
    folder = made(outspoken_model, tmp_path / "adapter", kind)
    unit, cell = put_adapter(store, folder, kind.replace(" ", "-")), Cell("quiz", "choice")
    found = [evaluator.score([unit_of(cell, subject)])[0] for subject in (None, unit, None)]
    assert [one.message for one in found] == [None] * 3
    assert found[0].metrics == found[2].metrics
    assert found[0].tokens > found[1].tokens  # what was added stands for several of the base's
    compare(
        store, unit_of(cell, unit), *harness(outspoken_model, quiz, "choice", Scoring(), folder, tokenizer=str(folder))
    )


def test_other_kinds_of_tasks_are_read_with_its_tokenizer_too(
    scores: Any, quiz: TaskConfig, outspoken_model: Path, tmp_path: Path, harness: Any
) -> None:
    store, evaluator = scores
    folder = made(outspoken_model, tmp_path / "adapter", KINDS[0])
    unit = put_adapter(store, folder, "others")
    for language in ("rolling", "writing"):
        one = unit_of(Cell("quiz", language), unit)
        (result,) = evaluator.score([one])
        assert result.ok, result.traceback
        rows = [row for row in store.items().to_pylist() if row["score_id"] == one.score_id]
        _, samples = harness(outspoken_model, quiz, language, Scoring(), folder, tokenizer=str(folder))
        for row, sample in zip(sorted(rows, key=lambda row: row["doc_id"]), samples, strict=True):
            theirs = sample["resps"][0][0]
            assert (row["generation"] if language == "writing" else row["loglikelihoods"][0]) == (
                theirs if language == "writing" else pytest.approx(theirs, abs=2e-3)
            )


def _without_tokenizer(folder: Path) -> None:
    (folder / TOKENIZER_FILE).unlink()


def _rewritten(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS_FILE)
        change(tensors)
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})

    return rewrite


HEAD = "base_model.model.lm_head.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_tokenizer, f"no {TOKENIZER_FILE} lies beside it"),
        (lambda folder: (folder / TOKENIZER_FILE).write_text("{"), "its tokenizer cannot be used"),
        (_rewritten(lambda tensors: tensors.pop(HEAD)), "no rows of the head for the tokens that were added"),
        (_rewritten(lambda tensors: tensors.update(x=tensors[HEAD].clone())), "x does not begin with"),
        (
            _rewritten(lambda tensors: tensors.update({"base_model.model.y.weight": torch.ones(2)})),
            "base_model.model.y.weight is no part of the adapter",
        ),
        (
            _rewritten(lambda t: t.update({HEAD.replace("lm_head", "lm_head.modules_to_save"): t[HEAD] + 1})),
            "modules_to_save.weight is no part of the adapter",
        ),
    ],
)
def test_what_is_not_whole_is_refused(
    change: Callable[[Path], None], words: str, scores: Any, outspoken_model: Path, tmp_path: Path
) -> None:
    store, evaluator = scores
    folder = made(outspoken_model, tmp_path / "adapter", KINDS[0])
    change(folder)
    (result,) = evaluator.score([unit_of(Cell("quiz", "choice"), put_adapter(store, folder, f"broken-{words[-9:]}"))])
    assert (result.ok, result.kind) == (False, "bad_data")
    assert words in str(result.message)
