"""What is right of a document: its options, a text, nothing that is told, or a refusal with row, value and fix."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study import pulse
from study.config import Scoring
from study.data.gold import BadGold, is_told, right_options, right_text
from study.data.harness import Task
from study.errors import TaskError
from tests.study.data.test_tasks import CELL, Function, docs, fingerprint, library, write

golds = (
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.floats()
    | st.sampled_from(["a", "b", "", "1", "-1", "A", "None"])
)


def task_of(options: object, gold: object, several: bool = False) -> Task:
    config = SimpleNamespace(doc_to_choice="choices", target_delimiter=" ", process_results=None)
    return cast(
        Task,
        SimpleNamespace(
            OUTPUT_TYPE="multiple_choice",
            config=config,
            multiple_input=0,
            multiple_target=int(several),
            doc_to_choice=lambda doc: options,
            doc_to_text=lambda doc, template=None: "text",
            doc_to_target=lambda doc, template=None: gold,
        ),
    )


@given(st.lists(st.text(max_size=3), max_size=4) | st.text(max_size=3) | st.none(), golds | st.lists(golds, max_size=3))
def test_a_document_has_options_that_are_right_or_a_hidden_label_or_is_refused(options: object, gold: object) -> None:
    task = task_of(options, gold, isinstance(gold, list))
    try:
        found = right_options(task, {})
    except BadGold:
        with pytest.raises(BadGold):
            is_told(task, {})
        return
    assert isinstance(options, list)
    assert all(0 <= number < len(options) for number in found)
    assert is_told(task, {}) == bool(found)
    learned = right_text(task, {}, None)
    assert learned == (options[found[0]] if found else None)
    stated = gold if isinstance(gold, list) else [gold]
    assert bool(found) or stated in ([-1], ["-1"], [""], [])
    meant = [options.index(one) if isinstance(one, str) else one for one in stated] if found else []
    assert list(found) == list(dict.fromkeys(meant))


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {  # of a row, of the task, and what is said
    "a number as text": (
        {"answer": "2"},
        {},
        r"'2' is none of its 3 options \('\d', 'none', 'a lot'\).*'\{\{column\}\}'",
    ),
    "a letter": ({"answer": "B"}, {}, r"'B' is none of its 3 options.*\{\{'ABC'.index\(column\)\}\}"),
    "null": ({"answer": None}, {}, "the answer null is none of its 3 options"),
    "beyond": ({"answer": 3}, {}, "the answer 3 is none of its 3 options"),
    "another text": ({"answer": "some"}, {}, "'some' is none of its 3 options"),
    "a null among options": ({"choices": ["a", None]}, {}, "option 1 is null, not a text"),
    "no options": ({"choices": []}, {}, "doc_to_choice gives no list of texts"),
    "null options": ({"choices": None}, {}, "doc_to_choice gives no list of texts, null"),
    "options that are a text": ({}, {"doc_to_choice": "question"}, "doc_to_choice gives one text"),
    "options that a template writes": ({}, {"doc_to_choice": "{{question}}"}, "doc_to_choice writes no list"),
    "options that are numbers": ({}, {"doc_to_choice": "{{[1, 2, 3]}}"}, "option 0 is 1, not a text"),
    "fractions": ({}, {"doc_to_target": "share"}, r"the answer 0.0 is none of .*\{\{column \| int\}\}"),
}


@pytest.mark.parametrize("where", [0, 4])
@pytest.mark.parametrize("what", BAD)
def test_a_row_that_says_nothing_right_refuses_its_cell(what: str, where: int, tmp_path: Path) -> None:
    changes, task, says = BAD[what]
    rows = [{**one, "share": float(one["answer"])} for one in docs(6)]
    if isinstance(changes.get("answer"), str):  # a column of JSON has one type
        rows = [{**one, "answer": one["choices"][one["answer"]]} for one in rows]
    rows[where] |= changes
    write(tmp_path, rows, rows, **task)
    for use in ("build_requests", "examples"):
        with pytest.raises(TaskError, match=says) as caught:
            getattr(library(tmp_path), use)(CELL)
        row = 0 if task else where
        assert str(caught.value).startswith(f"quiz/en: row {row} (id 'q{row}') to ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("train", [{}, {"doc_to_target": "answer"}, {"doc_to_target": "{{answer}}"}])
@pytest.mark.parametrize("answer", ["None", None])
def test_the_word_none_is_an_answer_and_a_null_is_none(
    answer: str | None, train: dict[str, str], tmp_path: Path
) -> None:
    """Whatever else of the row is null."""
    rows = [{"id": f"q{n}", "question": "?", "answer": "two", "note": None} for n in range(3)]
    rows[1]["answer"] = answer
    write(tmp_path, rows, rows, output_type="generate_until", doc_to_choice=None, doc_to_target="{{answer}}")
    if answer is None:
        with pytest.raises(TaskError, match=r"row 1 \(id 'q1'\) to learn: the answer is null"):
            library(tmp_path, **train).examples(CELL)
        return
    assert [one.answer for one in library(tmp_path, **train).examples(CELL)] == [" two", " None", " two"]
    assert len(library(tmp_path, **train).build_requests(CELL)) == 3


def test_a_number_that_stands_as_text_is_learned_neither_as_option_nor_as_text(tmp_path: Path) -> None:
    rows = [{**one, "choices": ["some", "none", "a lot"], "right": str(one["answer"])} for one in docs(4)]
    write(tmp_path, rows, rows)
    with pytest.raises(TaskError, match=r"row 0 \(id 'q0'\) to learn: .*'0' is none of its 3.*'\{\{column\}\}'"):
        library(tmp_path, doc_to_target="right").examples(CELL)
    learned = library(tmp_path, doc_to_target="{{right}}").examples(CELL)
    assert [one.answer for one in learned] == [" some", " none", " a lot", " some"]


def test_a_question_that_is_null_is_refused(tmp_path: Path) -> None:
    rows = [{**one, "question": None if i == 2 else "?"} for i, one in enumerate(docs(4))]
    write(tmp_path, rows, rows, doc_to_text="question")
    with pytest.raises(TaskError, match=r"row 2 \(id 'q2'\) to score: doc_to_text is null, not a text"):
        library(tmp_path).build_requests(CELL)
    for train in ({}, {"doc_to_text": "question"}):
        with pytest.raises(TaskError, match=r"row 2 \(id 'q2'\) to learn: .*(null|Context is not a string! : None)"):
            library(tmp_path, **train).examples(CELL)


def test_some_rows_with_one_answer_and_some_with_several_cannot_be_judged_alike(tmp_path: Path) -> None:
    rows = docs(4)
    write(tmp_path, rows, rows, doc_to_target="{{ [answer] if answer else answer }}")
    with pytest.raises(TaskError, match=r"row 1 .*\[1\] is a list here and one answer in other rows"):
        library(tmp_path).build_requests(CELL)


@pytest.mark.parametrize("hidden", [-1, "", "-1"])
def test_a_hidden_label_leaves_its_row_out_and_is_counted(hidden: int | str, tmp_path: Path) -> None:
    rows = [{**one, "answer": one["choices"][one["answer"]]} if isinstance(hidden, str) else one for one in docs(6)]
    for number in (0, 3):
        rows[number]["answer"] = hidden
    write(tmp_path, rows, rows)
    tasks = library(tmp_path, Scoring(limit=3), limit=3)
    assert {request.doc_id for request in tasks.build_requests(CELL)} < {1, 2, 4, 5}
    assert {example.prompt.split()[3] for example in tasks.examples(CELL)} < {"1", "2", "4", "5"}
    assert len(tasks.examples(CELL)) == 3
    whole = library(tmp_path)
    assert [request.doc_id for request in whole.build_requests(CELL)[::3]] == [1, 2, 4, 5]
    assert [example.prompt.split()[3] for example in whole.examples(CELL)] == ["1", "2", "4", "5"]
    assert whole.hidden == {(CELL, "test"): 2, (CELL, "train"): 2}


def test_where_all_labels_are_hidden_nothing_is_left(tmp_path: Path) -> None:
    rows = [{**one, "answer": -1} for one in docs(3)]
    write(tmp_path, rows, rows)
    with pytest.raises(TaskError, match="no item to score: the labels of all 3 rows"):
        library(tmp_path).build_requests(CELL)
    with pytest.raises(TaskError, match="no example to train on: the labels of all 3 rows"):
        library(tmp_path).examples(CELL)


@pytest.mark.parametrize("key", ["doc_to_text", "doc_to_choice", "doc_to_target"])
def test_a_name_of_no_column_is_no_text(key: str, tmp_path: Path) -> None:
    write(tmp_path, **{key: "anwser"})
    for use in ("build_requests", "examples"):
        with pytest.raises(
            TaskError, match=f"quiz/en: {key}: 'anwser' is no column.*id, question, choices, answer, note"
        ):
            getattr(library(tmp_path), use)(CELL)
    if key != "doc_to_choice":
        write(tmp_path)
        with pytest.raises(TaskError, match=rf"tasks\[quiz\].train.{key}: 'anwser' is no column"):
            library(tmp_path, **{key: "anwser"}).examples(CELL)


def test_a_text_that_is_the_same_in_all_rows_can_be_meant(tmp_path: Path) -> None:
    write(tmp_path, doc_to_choice=["yes", "no"], doc_to_target="yes")
    assert {example.answer for example in library(tmp_path).examples(CELL)} == {" yes"}
    assert library(tmp_path, doc_to_target="{{ 'ok' }}").examples(CELL)[0].answer == " ok"


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    write(tmp_path, doc_to_text="{{text}}")
    with pytest.raises(TaskError, match="'text' is undefined; columns are id, question, choices, answer, note"):
        library(tmp_path).build_requests(CELL)


def test_a_null_that_a_template_writes_is_no_answer(tmp_path: Path) -> None:
    rows = [{**one, "note": None if i == 2 else "x"} for i, one in enumerate(docs(4))]
    write(tmp_path, train=rows)
    with pytest.raises(TaskError, match=r"row 2 \(id 'q2'\) to learn: the answer is null"):
        library(tmp_path, doc_to_target="{{note}}").examples(CELL)


def test_a_task_that_judges_by_itself_is_taken_at_its_word(tmp_path: Path) -> None:
    rows = [{**one, "answer": "whatever"} for one in docs(3)]
    write(tmp_path, rows, rows, process_results=Function("own_judge.judge"))
    (tmp_path / "own_judge.py").write_text("def judge(doc, results):\n    return {'acc': 1.0}\n")
    assert len(library(tmp_path).build_requests(CELL)) == 9
    assert fingerprint(tmp_path)


def test_so_is_a_task_that_is_a_class(tmp_path: Path) -> None:
    rows = [{**one, "answer": 7} for one in docs(3)]
    write(tmp_path, rows, rows)
    definition = (tmp_path / "quiz_en.yaml").read_text()
    (tmp_path / "quiz_en.yaml").write_text(definition + "class: !function own_class.Quiz\n")
    (tmp_path / "own_class.py").write_text(
        "from lm_eval.api.task import ConfigurableTask\n"
        "class Quiz(ConfigurableTask):\n"
        "    def __init__(self, config):\n        config.pop('class')\n        super().__init__(config=config)\n"
        "    def doc_to_target(self, doc):\n        return 'seven'\n"
        "    def process_results(self, doc, results):\n        return {'acc': 1.0}\n"
        "    def construct_requests(self, doc, ctx, **more):\n        return []\n"
    )
    assert {example.answer for example in library(tmp_path).examples(CELL)} == {" seven"}
    assert library(tmp_path).load(CELL).task_name == "quiz_en"


@pytest.mark.parametrize("split", ["test", "train"])
def test_an_empty_split_is_named(split: str, tmp_path: Path) -> None:
    write(tmp_path, **{split: []})
    with pytest.raises(TaskError, match=f"quiz/en: .*split '{split}' has no rows"):
        library(tmp_path).load(CELL)


def test_a_file_that_is_not_there_says_from_where_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from the task's own folder, as one may think."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, dataset_kwargs={"data_files": {"train": "quiz_en.yaml", "test": "../no.jsonl"}})
    told = rf"quiz/en: data_files of its split 'test' = '../no.jsonl': no such file; .* run in, {tmp_path}: "
    with pytest.raises(TaskError, match=told):
        library(tmp_path).load(CELL)
    write(tmp_path, dataset_kwargs={"data_files": {"train": "no*.jsonl", "test": "test.jsonl"}})
    with pytest.raises(TaskError, match="cannot be loaded") as pattern:
        library(tmp_path).load(CELL)
    assert "whole path" not in str(pattern.value)


@pytest.mark.parametrize("path", ["csv", "the folder"])
def test_cells_of_a_csv_are_read_as_they_stand(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    rows = tmp_path / "data" / "rows.csv"
    rows.write_text('question,options,answer\nNamibia?,"NA,NL",NA\nnothing?,"None,all",None\n')
    file = {"data_files": {"train": str(rows), "test": str(rows)}}
    columns = {"doc_to_choice": "{{options.split(',')}}", "doc_to_text": "{{question}}", "doc_to_target": "answer"}
    write(tmp_path, dataset_path=path if path == "csv" else str(tmp_path / "data"), dataset_kwargs=file, **columns)
    monkeypatch.setattr("study.pulse._listeners", [])
    heard: list[str | None] = []
    pulse.listen(lambda stage, _: heard.append(stage))
    assert [example.answer for example in library(tmp_path).examples(CELL)] == [" NA", " None"]
    assert heard  # of the data that were made ready
    heard.clear()
    datasets.utils.tqdm().update()
    assert heard == []
    assert len(library(tmp_path).build_requests(CELL)) == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("split,id\ntest,q1\ntest,q1\n", "test ids that stand there more than once: 1, the first is 'q1'"),
        ("split,id\ntest,q1\n", "ids that several rows of the data have: 1, the first is 'q1'"),
        ("split,id\ntset,q1\n", "the row 'tset','q1' has no id of the split train or test"),
        ("split,id\ntest,q1\ntrain\n", "the row 'train',None has no id"),
        ("split,id\n", "names no rows"),
    ],
)
def test_a_manifest_names_each_row_once_and_no_others(text: str, says: str, tmp_path: Path) -> None:
    rows = docs(3)
    write(tmp_path, rows if text.count("q1") == 2 else [*rows, rows[1]])
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(TaskError, match=says):
        library(tmp_path, manifest=str(tmp_path / "rows.csv")).build_requests(CELL)


def test_a_manifest_that_is_no_text_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "rows.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(TaskError, match=r"rows\.csv: a manifest is a CSV in UTF-8"):
        library(tmp_path, manifest=str(tmp_path / "rows.csv")).build_requests(CELL)


def test_a_number_of_examples_that_is_a_text_is_named(tmp_path: Path) -> None:
    write(tmp_path, num_fewshot="3")
    with pytest.raises(TaskError, match="quiz/en: its num_fewshot is '3', not a whole number"):
        library(tmp_path).build_requests(CELL)


def test_a_prompt_that_is_no_option_is_refused(tmp_path: Path) -> None:
    rows = [{**one, "best": 1 if i else -1} for i, one in enumerate(docs(3))]
    write(tmp_path, rows, rows)
    train = {"doc_to_text": "best", "doc_to_target": "{{note}}"}
    with pytest.raises(TaskError, match=r"row 0 \(id 'q0'\) to learn: the answer -1 is none of its 3 options"):
        library(tmp_path, **train).examples(CELL)
    write(tmp_path, rows, [{**one, "best": 1} for one in rows])
    assert {example.prompt for example in library(tmp_path, **train).examples(CELL)} == {"none"}


def test_a_metric_that_lm_eval_does_not_have_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm_eval.api.task.get_metric", lambda name, hub=False: {}[name])  # which asks the Hub
    write(tmp_path, metric_list=[{"metric": "acc_nrom"}])
    with pytest.raises(TaskError, match="quiz/en: lm-eval has no metric 'acc_nrom': did you mean acc_norm"):
        library(tmp_path).build_requests(CELL)


def test_a_manifest_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "rows.csv").write_text("split,id\ntest,q1\n", encoding="utf-8-sig")
    assert {i.doc_id for i in library(tmp_path, manifest=str(tmp_path / "rows.csv")).build_requests(CELL)} == {1}
