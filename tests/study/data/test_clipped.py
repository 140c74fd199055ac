"""Long fields are cut before templates: alike in what is learned, what is scored and few-shot examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from study.cells import Cell, Source
from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from tests.study.data.test_tasks import CELL, Function, docs, write


def long(count: int, start: int) -> list[dict[str, Any]]:
    return [{**doc, "note": f"{doc['id']} " + "word " * 50, "extra": None} for doc in docs(count, start)]


def tasks(folder: Path, clip: dict[str, int], shots: int = 0, **train: Any) -> TaskLibrary:
    task = TaskConfig(
        name="quiz", lm_eval="quiz_{language}", include_path=str(folder), clip=clip, train=train, trust_code=True
    )
    return TaskLibrary([task], Scoring(num_fewshot=shots))


def prints(library: TaskLibrary) -> tuple[list[str], str]:
    requests = library.build_requests(CELL)
    return library.example_fingerprints(Source.of([CELL])), library.target_fingerprint(CELL, requests)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, long(6, 0), long(5, 100), doc_to_text="{{note}}|{{question}}\nAnswer:")
    return tmp_path


def test_what_is_learned_and_asked_is_cut_alike(folder: Path) -> None:
    library = tasks(folder, {"note": 12}, shots=1)
    assert {len(example.prompt.partition("|")[0]) for example in library.examples(CELL)} == {12}
    for request in library.build_requests(CELL):
        shot, asked = str(request.args[0]).split("\n\n")
        assert [len(part.partition("|")[0]) for part in (shot, asked)] == [12, 12]
        assert asked.endswith("\nAnswer:")


def test_a_clip_is_in_both_identities_where_it_cuts(folder: Path) -> None:
    (learned, asked), (cut_learned, cut_asked) = prints(tasks(folder, {})), prints(tasks(folder, {"note": 12}))
    assert learned != cut_learned
    assert asked != cut_asked
    assert prints(tasks(folder, {"note": 10_000, "extra": 5})) == (learned, asked)


def test_other_data_are_clipped_before_the_tasks_own_preparation(folder: Path) -> None:
    (folder / "rows.py").write_text(
        "def louder(docs):\n    return docs.map(lambda doc: {'note': doc['note'].upper() + '!'})\n"
    )
    write(folder, long(6, 0), long(5, 100), doc_to_text="{{note}}|{{question}}", process_docs=Function("rows.louder"))
    more = folder / "more.jsonl"
    more.write_text("".join(json.dumps({**row, "other": "abc"}) + "\n" for row in long(2, 500)))
    library = tasks(folder, {"note": 7, "other": 2}, data_files=str(more), process_docs=True)
    assert [one.prompt for one in library.examples(CELL)] == [f"Q{n} WO!|How much is {n} + 1?" for n in (500, 501)]
    assert str(library.build_requests(CELL)[0].args[0]).startswith("Q0 WORD!|")


def test_a_source_alone_is_clipped(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"text": "one two three"}) + "\n")
    task = TaskConfig(name="notes", clip={"text": 7}, train={"format": "text", "data_files": str(file)})
    (example,) = TaskLibrary([task], Scoring()).examples(Cell("notes", "en"))
    assert example.answer == "one two"


@pytest.mark.parametrize(
    ("clip", "train", "told"),
    [
        ({"body": 9}, {}, "'body' is no column of the data; columns are id, "),
        ({"answer": 9}, {}, "'answer' is 0, not a text: leave it out"),
        ({"body": 9}, {"data_files": "more.jsonl"}, "'body' is no column of the data; columns are "),
    ],
)
def test_a_clip_that_fits_no_data_is_told_in_a_line(
    clip: dict[str, int], train: dict[str, str], told: str, folder: Path
) -> None:
    (folder / "more.jsonl").write_text(json.dumps(long(1, 500)[0]) + "\n")
    named = {key: str(folder / value) for key, value in train.items()}
    with pytest.raises(TaskError) as error:
        tasks(folder, clip, **named).examples(CELL)
    assert str(error.value).startswith("quiz/en: tasks[quiz].clip: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)
