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


def test_what_is_lost_with_broken_data_is_told_one_by_one_and_so_are_texts_that_are_scored(tmp_path: Path) -> None:
    """A stage that begins with it, what begins with that, and what is put together of it; nothing else."""
    write(tmp_path)
    (tmp_path / "de.jsonl").write_text("".join(json.dumps({"text": f"Satz {i}"}) + "\n" for i in range(20)))
    config = parse(f"""
models: [{{id: none}}]
languages: [en, de]
tasks: [{{name: quiz, lm_eval: {{en: quiz_en}}, include_path: '{tmp_path}'}}]
texts: [{{name: prose, data: '{tmp_path}/{{language}}.jsonl'}}]
sources:
  - quiz/en
  - {{name: late, cells: quiz/en, start_from: early}}
  - {{name: early, cells: quiz/en, start_from: prose/en}}
  - {{name: fine, cells: quiz/en, start_from: prose/de}}
targets: [quiz/en, prose/de]
compose:
  - {{name: lost, method: sum, terms: [{{source: late}}, {{source: quiz/en}}]}}
  - {{name: kept, method: sum, terms: [{{source: fine}}, {{source: quiz/en}}]}}
""")
    found = survey(config, TaskLibrary.of(config), check_supported, print)
    assert [(one.role, one.cell) for one in found.broken] == [
        *(("source", name) for name in ("prose/en", "quiz/en@early", "quiz/en@late")), ("composition", "lost"),
    ]  # fmt: skip
    assert found.broken[2].message == "quiz/en@late: begins with the adapter of quiz/en@early, which cannot be used"
    assert found.broken[3].message == "lost: is put together of quiz/en@late, which cannot be used"
    assert found.sizes() == [found.target_items[config.target_list()[0]]]
    assert "prose/de: 2 texts are scored, and so are held out of what is learned" in remarks(found, {}, {})


def test_few_shot_examples_that_a_task_refuses_are_told(tmp_path: Path) -> None:
    for stated, says in ((0, ["no few-shot examples in quiz/en: its YAML file states num_fewshot: 0;"]), (1, [])):
        write(tmp_path, num_fewshot=stated)
        task = f"{{name: quiz, lm_eval: 'quiz_{{language}}', include_path: '{tmp_path}', scoring: {{num_fewshot: 2}}}}"
        config = parse(f"models: [{{id: none}}]\nlanguages: [en]\ntasks: [{task}]\n")
        found = survey(config, TaskLibrary.of(config), check_supported, print)
        lines = [line for line in remarks(found, {}, {}) if "few-shot" in line]
        assert [line.partition(" take that")[0] for line in lines] == says


def test_words_that_are_switched_are_counted(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "words.tsv").write_text("How\tComment\n")
    task = f"{{name: quiz, lm_eval: 'quiz_{{language}}', include_path: '{tmp_path}'}}"
    source = f"{{name: mixed, cells: quiz/en, switch: {{dictionary: '{tmp_path}/words.tsv', rate: 1}}}}"
    config = parse(f"models: [{{id: none}}]\nlanguages: [en]\ntasks: [{task}]\nsources: [{source}]\n")
    found = survey(config, TaskLibrary.of(config), check_supported, print)
    [line] = remarks(found, {}, {})
    assert line.startswith("quiz/en@mixed: 5 of ")
    assert line.endswith(" words are switched, of 5 that the dictionary has")
