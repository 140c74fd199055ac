"""What a plan tells of the data that a study learns from."""

from __future__ import annotations

import json
from pathlib import Path

from evaluators.items.item import check_supported
from orchestrator.costs.tokens import TokenCounter, of_source
from orchestrator.planning.remarks import remarks
from orchestrator.planning.survey import survey
from study.config.expansion import works
from study.config.file import parse
from study.data.tasks import TaskLibrary
from tests.study.data.test_tasks import write

LETTERS = TokenCounter("letters", lambda texts, _: [list(text) for text in texts], True)


def told(folder: Path, texts: list[str]) -> list[str]:
    file = folder / "notes.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    task = f"{{name: notes, train: {{format: text, data_files: '{file}'}}}}"
    recipe = "{max_length: 16, epochs: 1, batch_size: 8, warmup_ratio: 0.1}"
    write(folder)
    quiz = f"{{name: quiz, lm_eval: 'quiz_{{language}}', include_path: '{folder}'}}"
    study = f"models: [{{id: none}}]\nlanguages: [en]\ntasks: [{task}, {quiz}]\nsources: [notes/en]\nrecipe: {recipe}\n"
    config = parse(study)
    found = survey(config, TaskLibrary.of(config), check_supported, print)
    rows = {str(source): of_source(LETTERS, some, config.recipe).train for source, some in found.examples.items()}
    return list(remarks(found, rows, works(config, found.examples)))


def test_one_long_text_is_many_rows_and_an_empty_one_hides_no_label(tmp_path: Path) -> None:
    assert told(tmp_path, ["x" * 2000, ""]) == ["notes/en, train rows: 1 are left out, they are empty"]


def test_a_sample_as_large_as_all_rows_is_told_and_is_no_source_of_its_own(tmp_path: Path) -> None:
    write(tmp_path)
    task = f"{{name: quiz, lm_eval: 'quiz_{{language}}', include_path: '{tmp_path}', train: {{sizes: [2, 5, 9]}}}}"
    lost = "{name: lost, train: {format: text, data_files: nowhere.jsonl, sizes: [3]}}"
    config = parse(f"models: [{{id: none}}]\nlanguages: [en]\ntasks: [{task}, {lost}]\n")
    found = survey(config, TaskLibrary.of(config), check_supported, print)
    assert [str(source) for source in found.sources] == ["quiz/en", "quiz/en@2"]
    assert [one.cell for one in found.broken] == ["lost/en"]
    assert list(remarks(found, {}, {})) == [
        "2 samples are no less than all rows, e.g. quiz/en@5 of 5: what is trained on all of them stands for these"
    ]


def test_a_short_text_is_too_short_to_learn(tmp_path: Path) -> None:
    (line,) = told(tmp_path, ["x" * 20])
    assert line.startswith("too short to learn: 1 sources end within their warm-up, e.g. notes/en at step 1;")
