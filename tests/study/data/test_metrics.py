"""Metrics that a config names: refused in a line, or in the target's identity, and nothing else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study.config import Scoring, TaskConfig
from study.config.file import parse
from study.data.metrics import plain_name
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, TaskError
from tests.study.data.test_scoring import WRITES
from tests.study.data.test_tasks import CELL, Function, docs, write


def library(folder: Path, metric: Any = None) -> TaskLibrary:
    task = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder), trust_code=True, metric=metric)
    return TaskLibrary([task], Scoring())


def fingerprint(folder: Path, metric: Any = None) -> str:
    tasks = library(folder, metric)
    return tasks.target_fingerprint(CELL, tasks.build_requests(CELL))


def test_a_metric_is_in_the_identity_of_its_target(tmp_path: Path) -> None:
    write(tmp_path)
    assert len({fingerprint(tmp_path, metric) for metric in (None, "mcc", ["mcc", "acc"], "acc")}) == 4
    assert fingerprint(tmp_path, "mcc") == fingerprint(tmp_path, ["mcc"])


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("bleu", "quiz/en: tasks[quiz].metric: 'bleu': its task, which is of multiple_choice, has no such metric; use"),
        ("acc,strict", "'acc,strict': its task has no filter 'strict'; use one of none"),
        ("rougeL", "has no such metric; use one of acc, acc_norm, acc_bytes"),
    ],
)
def test_a_metric_that_cannot_be_is_refused_in_a_line(metric: str, told: str, tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(TaskError) as error:
        library(tmp_path, metric).load(CELL)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_task_that_judges_itself_names_what_it_has(tmp_path: Path) -> None:
    write(tmp_path, process_results=Function("judge.mine"), metric_list=[{"metric": "mine", "aggregation": "mean",
          "higher_is_better": True}])  # fmt: skip
    (tmp_path / "judge.py").write_text("def mine(doc, results):\n    return {'mine': 1.0}\n")
    assert library(tmp_path, "mine").metrics(CELL) == ("mine",)
    library(tmp_path, "mine").load(CELL)
    with pytest.raises(TaskError, match="which judges by code of its own, has no such metric; use one of mine"):
        library(tmp_path, "mcc").load(CELL)


def test_a_name_may_say_the_first_filter(tmp_path: Path) -> None:
    write(tmp_path)
    task = library(tmp_path, "acc,none").load(CELL)
    assert plain_name(task, "acc,none") == plain_name(task, "acc") == "acc"


@pytest.mark.parametrize(
    ("metric", "rows", "told"),
    [
        ("f1", {}, "quiz/en: 'f1' cannot be computed of its options and answers (ValueError: Target is multiclass"),
        ("mcc", {"answer": [0, 1]}, "'mcc' cannot be computed"),
        ("brier_score", {1: ["a", "b"]}, "'brier_score' cannot be computed"),
        ("mcc", {}, None),
        ("brier_score", {}, None),
        ("f1", {"choices": ["yes", "no"], "answer": 1}, None),
    ],
)
def test_a_metric_that_its_options_cannot_have_is_refused_before_training(
    metric: str, rows: dict[Any, Any], told: str | None, tmp_path: Path
) -> None:
    test = [{**doc, **{key: value for key, value in rows.items() if isinstance(key, str)}} for doc in docs(6)]
    for number, choices in ((key, value) for key, value in rows.items() if isinstance(key, int)):
        test[number]["choices"] = choices
    write(tmp_path, test, test)
    tasks = library(tmp_path, metric)
    if told is None:
        assert len(tasks.build_requests(CELL)) == sum(len(doc["choices"]) for doc in test)
        return
    with pytest.raises(TaskError) as error:
        tasks.build_requests(CELL)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    write(tmp_path, test, test, metric_list=[{"metric": metric}])  # its file may state it, too
    with pytest.raises(TaskError, match="cannot be computed"):
        library(tmp_path).build_requests(CELL)


@pytest.mark.parametrize("metric", ["bleu", "chrf", "ter"])
def test_a_metric_of_one_right_answer_is_refused_where_there_are_several(metric: str, tmp_path: Path) -> None:
    """It failed after all was trained: lm-eval's own code cannot compute it then."""
    writes = WRITES | {"metric_list": [{"metric": "exact_match"}]}
    write(tmp_path / "one", **writes)
    assert library(tmp_path / "one", metric).build_requests(CELL)
    write(tmp_path / "some", **writes | {"doc_to_target": "{{[note, question]}}"})
    assert library(tmp_path / "some", ["exact_match", "rougeL"]).build_requests(CELL)
    with pytest.raises(
        TaskError, match=f"'{metric}' is of one right answer, and its task gives several: use one of rouge1"
    ):
        library(tmp_path / "some", metric).build_requests(CELL)


def test_metrics_stand_once() -> None:
    text = "models: [{id: m}]\nlanguages: [en]\ntasks: [{name: t, lm_eval: 't_{language}', metric: [acc, acc]}]\n"
    with pytest.raises(ConfigError, match=r"tasks\[t\].metric"):
        parse(text)
