"""Raw text as a target: what is scored of it is not learned from, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from study.cells import Cell
from study.config.expansion import held_out
from study.config.file import parse
from study.data.held_out import split
from study.data.tasks import TaskLibrary
from study.errors import TaskError

CELL = Cell("prose", "de")


def texts(folder: Path, count: int, targets: str = "[a/de, prose/de]", more: str = "") -> TaskLibrary:
    rows = [{"line": f"Satz {i}, der von {i + 1} handelt." if i != 3 else ""} for i in range(count)]
    (folder / "de.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return TaskLibrary.of(
        parse(f"""
models: [{{id: m}}]
languages: [de]
tasks: [{{name: a, lm_eval: "a_{{language}}"}}]
texts: [{{name: prose, data: "{folder}/{{language}}.jsonl", field: line}}]
targets: {targets}
{more}
""")
    )


def test_a_text_is_scored_or_learned_from(tmp_path: Path) -> None:
    library, without = texts(tmp_path, 41), texts(tmp_path, 41, "all")
    learned, everything = library.examples(CELL), without.examples(CELL)
    assert len(everything) == 40  # one is empty
    apart = split(40, library._validation)[1]
    assert [one for i, one in enumerate(everything) if i not in apart] == list(learned)
    requests = library.build_requests(CELL)
    assert [request.args for request in requests] == [(everything[i].answer,) for i in apart]
    assert {one.request_type for one in requests} == {"loglikelihood_rolling"}
    assert not without.texts.scored
    assert library.own_shots(CELL) == 0
    prints = library.target_fingerprint(CELL, requests)
    assert prints == texts(tmp_path, 41).target_fingerprint(CELL, texts(tmp_path, 41).build_requests(CELL))
    few = texts(tmp_path, 41, more="scoring: {limit: 2, num_fewshot: 3}")
    assert [one.args for one in few.build_requests(CELL)] == [one.args for one in requests[:2]]


def test_of_few_texts_one_is_scored_and_of_none_none(tmp_path: Path) -> None:
    library = texts(tmp_path, 3)
    assert len(library.examples(CELL)) == 2
    assert len(library.build_requests(CELL)) == 1
    one_in_50 = "recipe: {validation: {fraction: 0.01}}"  # int(1 / 49 * 49) is 0
    assert len(texts(tmp_path, 50, more=one_in_50).build_requests(CELL)) == 1  # 49 that are not empty
    for count, more in ((1, ""), (9, "recipe: {validation: {fraction: 0}}")):
        with pytest.raises(TaskError, match=r"none can be held out of training to be scored: raise recipe\.validation"):
            texts(tmp_path, count, more=more).examples(CELL)


def test_texts_are_no_target_of_all_and_choose_no_lambda() -> None:
    text = """
models: [{id: m}]
languages: [de, en]
tasks: [{name: a, lm_eval: "a_{language}"}]
texts: [{name: prose, data: "x/{language}.jsonl"}]
compose:
  - {name: c, method: sum, lambda: {grid: [0, 1], protocol: other_languages},
     terms: [{source: a/en}, {source: prose/de, weight: lambda}]}
"""
    assert {cell.task for cell in parse(text).target_list()} == {"a"}
    config = parse(text + "targets: [a/de, a/en, prose/de]\n")
    assert config.scored_texts() == [CELL]
    assert {cell.task for cell in held_out(config)} == {"a"}
