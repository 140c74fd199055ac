"""Test sets that translate others: the same items in the same order, or the plan names the first that differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluators.items.item import check_supported
from orchestrator.planning.survey import Survey, survey
from orchestrator.planning.translations import check_translated
from study.config import StudyConfig
from study.config.file import parse
from study.data.tasks import TaskLibrary
from study.errors import ConfigError
from tests.study.data.test_tasks import docs, write

Rows = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def study(folder: Path, change: Rows = lambda rows: rows, **keys: Any) -> StudyConfig:
    """Task quiz, and quiz-mt, which says the same in capitals, and what else `change` makes of it."""
    rows = docs(12)
    loud = change([row | {"question": row["question"].upper()} for row in rows])
    write(folder / "own", rows)
    write(folder / "mt", loud, task="quiz_en_mt")
    (folder / "own" / "quiz_en.yaml").rename(folder / "quiz_en.yaml")
    (folder / "mt" / "quiz_en.yaml").rename(folder / "quiz_en_mt.yaml")
    named = {"translation_of": "quiz", **keys}
    return parse(f"""
models: [{{id: none}}]
languages: [en, de]
tasks:
  - {{name: quiz, lm_eval: {{en: quiz_en}}, include_path: '{folder}'}}
  - {{name: quiz-mt, lm_eval: {{en: quiz_en_mt}}, include_path: '{folder}', translation_of: {named["translation_of"]}}}
sources: [quiz/en]
targets: {named.get("targets", "all")}
scoring: {{limit: {named.get("limit", "null")}}}
""")


def looked_at(config: StudyConfig) -> Survey:
    return survey(config, TaskLibrary.of(config), check_supported, print)


def test_the_same_items_pass_and_a_limit_draws_the_same_of_both(tmp_path: Path) -> None:
    config = study(tmp_path, limit=5)
    found = looked_at(config)
    check_translated(found, config.tasks)
    drawn = [{one.doc_id for one in found.library.load(cell).instances} for cell in found.targets]
    assert len(drawn[0]) == 5
    assert drawn[0] == drawn[1] != set(range(5))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows[:-1], "item 11 of quiz/en is none of quiz-mt/en, which has 11 items"),
        (lambda rows: [*rows, rows[0]], "item 12 of quiz-mt/en is none of quiz/en, which has 12 items"),
        (lambda rows: [rows[1], rows[0], *rows[2:]], "item 0 of quiz-mt/en has id 'q1', and of quiz/en 'q0'"),
        (
            lambda rows: [row | {"answer": 1 - min(row["answer"], 1)} for row in rows],
            "item 0 of quiz-mt/en has gold '1', and of quiz/en '0'",
        ),
    ],
)
def test_an_item_that_is_another_is_named(tmp_path: Path, change: Rows, told: str) -> None:
    config = study(tmp_path, change)
    with pytest.raises(ConfigError, match=r"tasks\[quiz-mt\].translation_of = 'quiz'") as refused:
        check_translated(looked_at(config), config.tasks)
    assert told in str(refused.value)
    assert "in its order" in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"translation_of": "quizz"},
            "no other task of the study that is scored.*\n.*name one of quiz, or a cell",
        ),
        ({"translation_of": "quiz-mt"}, "is no other task"),
        ({"translation_of": "quiz/fr"}, "tasks.quiz-mt..translation_of = 'quiz/fr'"),
        ({"translation_of": "quiz/de"}, "tasks.quiz-mt..translation_of = 'quiz/de'"),
        (
            {"targets": "[quiz-mt/en]"},
            "and its original, quiz/en, is not.*\n.*add quiz/en to targets",
        ),
    ],
)
def test_an_original_that_is_not_scored_is_refused(tmp_path: Path, keys: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        study(tmp_path, **keys)
