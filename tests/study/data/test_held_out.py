"""Items to choose a lambda on: the validation split, or what training holds out; never test items, never trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from study.cells import Cell
from study.config import Scoring, TaskConfig, Validation
from study.data.held_out import split
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from tests.study.data.test_tasks import CELL, docs, library, write

HELD = Cell("quiz", "en", held_out=True)


def asked(tasks: TaskLibrary, cell: Cell) -> list[str]:
    return [str(request.doc["id"]) for request in tasks.build_requests(cell) if request.idx == 0]


def validating(folder: Path, validation: Validation, **train: Any) -> TaskLibrary:
    task = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder), train=train, trust_code=True)
    return TaskLibrary([task], Scoring(), ("en",), validation)


def test_they_are_the_rows_that_training_holds_out(tmp_path: Path) -> None:
    """Of the rows that are learned: one has a hidden label, and a limit leaves others out."""
    rows = docs(40, 100)
    rows[3] = {**rows[3], "answer": -1}
    write(tmp_path, docs(6), rows)
    validation = Validation(fraction=0.2)
    tasks = validating(tmp_path, validation, limit=30)
    examples = tasks.examples(CELL)
    learn, held_out = split(len(examples), validation)
    prompts = {request.args[0] for request in tasks.build_requests(HELD)}
    assert prompts == {examples[i].prompt for i in held_out}
    assert not prompts & {examples[i].prompt for i in learn}
    assert not set(asked(tasks, HELD)) & set(asked(tasks, CELL))
    named = tasks.target_fingerprint(HELD, tasks.build_requests(HELD))
    assert named != tasks.target_fingerprint(CELL, tasks.build_requests(CELL))


def test_a_validation_split_goes_before_them(tmp_path: Path) -> None:
    rows, file = docs(9, 200), tmp_path / "validation.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "test", "validation")}
    write(tmp_path, docs(6), docs(40, 100), validation_split="validation", dataset_kwargs={"data_files": files})
    assert asked(library(tmp_path), HELD) == [row["id"] for row in rows]
    assert asked(library(tmp_path, Scoring(limit=4)), HELD) == [row["id"] for row in rows[:4]]


def test_what_is_among_the_test_items_is_refused(tmp_path: Path) -> None:
    write(tmp_path, docs(12), docs(12))
    with pytest.raises(TaskError, match="6 of 6 items to choose lambda on are among the test items"):
        asked(validating(tmp_path, Validation(fraction=0.5)), HELD)


def test_where_nothing_is_held_out_there_is_a_line(tmp_path: Path) -> None:
    write(tmp_path, docs(6), docs(5, 100))
    with pytest.raises(TaskError, match="no item is held out"):
        asked(validating(tmp_path, Validation(fraction=0.0)), HELD)
    with pytest.raises(TaskError, match="other data than it is scored on"):
        asked(library(tmp_path, data_files=str(tmp_path / "train.jsonl")), HELD)
