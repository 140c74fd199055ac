"""Which documents a cell is trained on, in which words, and what of that names an adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from study.cells import Cell, Source
from study.config import Scoring, TaskConfig
from study.data.example import Example, told
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from tests.study.data.test_tasks import CELL, Function, docs, library, write

GERMAN = Cell("quiz", "de")


def numbers(tasks: TaskLibrary, cell: Cell = CELL) -> list[int]:
    return [int(example.prompt.split()[3]) for example in tasks.examples(cell)]


def two_languages(folder: Path, **train: Any) -> TaskLibrary:
    for language, start in (("en", 100), ("de", 200)):
        write(folder / language, train=docs(5, start), task=f"quiz_{language}")
        (folder / language / "train.jsonl").rename(folder / language / "dev.jsonl")
    for file in folder.rglob("*.yaml"):
        file.write_text(file.read_text().replace("train.jsonl", "dev.jsonl"))
    task = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder), train=train)
    return TaskLibrary([task], Scoring(), ["en", "de"])


def test_every_text_of_train_may_differ_by_language(tmp_path: Path) -> None:
    """A pattern or a table; what a table leaves out is the task's own, and a column called language is a column."""
    data, manifest = tmp_path / "data", tmp_path / "{language}.csv"
    for language, start in (("en", 300), ("de", 400)):
        rows = [{**doc, "language": language.upper()} for doc in docs(4, start)]
        (data / language).mkdir(parents=True)
        (data / language / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        Path(str(manifest).replace("{language}", language)).write_text(f"split,id\ntrain,q{start + 2}\n")
    tasks = two_languages(
        tmp_path / "tasks",
        dataset_path=str(data / "{language}"),
        manifest=str(manifest),
        doc_to_text={"de": "{{language}} {language}: {{question}}"},
    )
    tasks.check([CELL, GERMAN])
    assert [example.prompt for example in tasks.examples(CELL)] == ["How much is 302 + 1?\nAnswer:"]
    assert [example.prompt for example in tasks.examples(GERMAN)] == ["DE de: How much is 402 + 1?"]


def test_rows_that_where_refuses_are_not_learned(tmp_path: Path) -> None:
    write(tmp_path, train=docs(9, 100))
    tasks = library(tmp_path, where="{{answer in [0, 2]}}", limit=5)
    assert {number % 3 for number in numbers(tasks)} <= {(100 + i) % 3 for i in range(9) if (100 + i) % 3 != 1}
    assert len(tasks.examples(CELL)) == 5
    assert len(library(tmp_path, where="{{answer in [0, 2]}}").examples(CELL)) == 6
    assert tasks.hidden == {}
    assert len(tasks.build_requests(CELL)) == 6 * 3  # all that is scored
    for where, says in (("{{answer}}", "gives '1'"), ("{{false}}", "that train.where lets pass"), ("anwser", "no col")):
        with pytest.raises(TaskError, match=says):
            library(tmp_path, where=where).examples(CELL)


def test_a_manifest_may_name_rows_by_another_field(tmp_path: Path) -> None:
    rows = [{**doc, "sample_id": f"s{i}"} for i, doc in enumerate(docs(6, 100))]
    write(tmp_path, test=rows, train=rows)
    manifest = tmp_path / "rows.csv"
    manifest.write_text("split,id\ntrain,s3\ntrain,s1\ntest,s0\n")
    tasks = library(tmp_path, manifest=str(manifest), id_field="sample_id")
    assert numbers(tasks) == [103, 101]
    assert {i.doc_id for i in tasks.build_requests(CELL)} == {0}
    for method in ("examples", "build_requests"):
        with pytest.raises(TaskError, match=r"train\.id_field: 'number' is no column of the data; columns are id, "):
            getattr(library(tmp_path, manifest=str(manifest), id_field="number"), method)(CELL)


def test_other_data_have_a_revision_and_the_tasks_own_preparation_where_asked(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "rows.py").write_text(
        "def louder(docs):\n    return docs.map(lambda doc: {'question': doc['question'].upper()})\n"
    )
    write(tmp_path / "tasks", process_docs=Function("rows.louder"))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in docs(1, 500)))
    more = {"dataset_path": str(tmp_path / "more")}
    plain, prepared = (library(tmp_path / "tasks", **more, process_docs=yes) for yes in (False, True))
    assert plain.examples(CELL)[0].prompt == "How much is 500 + 1?\nAnswer:"
    assert prepared.examples(CELL)[0].prompt == "HOW MUCH IS 500 + 1?\nAnswer:"
    pinned = library(tmp_path / "tasks", **more, dataset_revision="abc")
    pinned.load(CELL)
    with mock.patch("datasets.load_dataset", return_value=docs(1, 600)) as loads:
        assert numbers(pinned) == [600]
    assert loads.call_args.kwargs["revision"] == "abc"


def test_a_template_may_name_a_column_that_only_other_data_have(tmp_path: Path) -> None:
    write(tmp_path / "tasks")
    rows = [{"prompt": f"Is it {i}?", "completion": ["no", "a lot"][i]} for i in range(2)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = {"data_files": str(tmp_path / "rows.jsonl"), "doc_to_text": "prompt", "doc_to_target": "completion"}
    write(tmp_path / "tasks", output_type="generate_until", doc_to_choice=None, doc_to_target="note",
          generation_kwargs={"until": ["."]}, metric_list=[{"metric": "exact_match"}])  # fmt: skip
    assert library(tmp_path / "tasks", **more).examples(CELL) == (
        Example("Is it 0?", " no", append_eos=True),
        Example("Is it 1?", " a lot", append_eos=True),
    )


def test_how_an_example_is_read_names_it_where_it_is_not_as_before(tmp_path: Path) -> None:
    write(tmp_path)
    assert told(Example("one", " two")) == ["one", " two"]
    assert told(Example("one", " two", bos=False, max_length=9)) == ["one", " two", {"bos": False, "max_length": 9}]
    ways = [{}, {"bos": False}, {"max_length": 256}, {"max_length": 128}, {"truncation": "right"}, {"loss_on": "all"}]
    prints = [library(tmp_path, **way).example_fingerprints(Source.of([CELL]))[0] for way in ways]
    assert len(set(prints)) == len(ways)
    as_before = {"bos": True, "max_length": None, "truncation": "left", "where": "{{true}}"}
    assert library(tmp_path, **as_before).example_fingerprints(Source.of([CELL])) == prints[:1]
