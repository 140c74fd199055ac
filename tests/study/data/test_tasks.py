"""Tasks as lm-eval defines them: what is scored, what is trained on, and what names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval.tasks import TaskManager

from study.cells import Cell, Source
from study.config import Scoring, TaskConfig
from study.data.example import Example
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, TaskError

CELL = Cell("quiz", "en")


class Function(str):
    """A `!function` of a task's YAML file."""


yaml.SafeDumper.add_representer(
    Function, lambda dumper, value: dumper.represent_scalar("!function", str(value), style="")
)


def docs(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "id": f"q{i}",
            "question": f"How much is {i} + 1?",
            "choices": [str(i + 1), "none", "a lot"],
            "answer": i % 3,
            "note": "x",
        }
        for i in range(start, start + count)
    ]


def write(
    folder: Path, test: list[dict[str, Any]] | None = None, train: list[dict[str, Any]] | None = None, **changes: Any
) -> None:
    """The task quiz_en over JSON files; `changes` replace keys of its definition, None removes one."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for split, rows in (
        ("test", test if test is not None else docs(6)),
        ("train", train if train is not None else docs(5, 100)),
    ):
        files[split] = str(folder / f"{split}.jsonl")
        Path(files[split]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    definition = {
        "task": "quiz_en",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "output_type": "multiple_choice",
        "training_split": "train",
        "test_split": "test",
        "doc_to_text": "{{question}}\nAnswer:",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}],
        **changes,
    }
    text = yaml.safe_dump({key: value for key, value in definition.items() if value is not None})
    (folder / "quiz_en.yaml").write_text(text)


def library(folder: Path, scoring: Scoring | None = None, **train: Any) -> TaskLibrary:
    task = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder), train=train, trust_code=True)
    return TaskLibrary([task], scoring or Scoring())


def fingerprint(folder: Path, scoring: Scoring | None = None, **train: Any) -> str:
    tasks = library(folder, scoring, **train)
    return tasks.target_fingerprint(CELL, tasks.build_requests(CELL))


def test_requests_are_lm_evals(tmp_path: Path) -> None:
    write(tmp_path)
    instances = library(tmp_path).build_requests(CELL)
    assert [(i.doc_id, i.idx) for i in instances] == [(d, o) for d in range(6) for o in range(3)]
    assert instances[3].args == ("How much is 1 + 1?\nAnswer:", " 2")


def sorted_docs(language: str = "en") -> list[dict[str, Any]]:
    """60 questions, the right answers one after the other."""
    return [{**doc, "question": f"{language}: {doc['question']}", "answer": i // 20} for i, doc in enumerate(docs(60))]


def test_a_limit_draws_the_same_items_in_every_language_with_answers_in_proportion(tmp_path: Path) -> None:
    german = [{**doc, "answer": 0} for doc in sorted_docs("de")[::-1]]  # it is the first language's answers that count
    for language, rows in (("en", sorted_docs()), ("de", german)):
        write(tmp_path / language, rows, rows, task=f"quiz_{language}")
    both = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path), train={"limit": 9})
    tasks = TaskLibrary([both], Scoring(limit=6), ["en", "de"])
    cells = {one: Cell("quiz", one) for one in ("en", "de")}
    scored = {one: {i.doc["id"]: i.doc["answer"] for i in tasks.build_requests(cell)} for one, cell in cells.items()}
    assert scored["en"].keys() == scored["de"].keys()
    assert sorted(scored["en"].values()) == [0, 0, 1, 1, 2, 2]
    trained = {one: [example.prompt.split()[4] for example in tasks.examples(cell)] for one, cell in cells.items()}
    assert trained["en"] == trained["de"][::-1]
    assert len(trained["en"]) == 9
    assert [i.doc_id for i in tasks.build_requests(cells["de"])][::3] == sorted(
        59 - int(name[1:]) for name in scored["de"]
    )


def test_a_limit_names_what_is_drawn_and_one_that_takes_all_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, sorted_docs())
    whole = fingerprint(tmp_path)
    assert fingerprint(tmp_path, Scoring(limit=60)) == whole == fingerprint(tmp_path, Scoring(limit=100))
    assert fingerprint(tmp_path, Scoring(limit=6)) == fingerprint(tmp_path, Scoring(limit=6)) != whole
    source = Source.of([CELL])
    assert library(tmp_path, limit=5).example_fingerprints(source) == library(tmp_path).example_fingerprints(source)


def test_a_limit_takes_languages_apart_that_share_no_ids(tmp_path: Path) -> None:
    for language in ("en", "de"):
        rows = [{**doc, "id": f"{language}-{doc['id']}"} for doc in sorted_docs()]
        write(tmp_path / language, rows, task=f"quiz_{language}")
    task = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path))
    tasks = TaskLibrary([task], Scoring(limit=6), ["en", "de"])
    drawn = {i.doc["id"]: i.doc["answer"] for i in tasks.build_requests(Cell("quiz", "de"))}
    assert sorted(drawn.values()) == [0, 0, 1, 1, 2, 2]


def test_few_shot_examples_come_from_train_and_are_the_same_each_time(tmp_path: Path) -> None:
    write(tmp_path)
    tasks = library(tmp_path, Scoring(num_fewshot=2))
    first, again = ([i.args for i in tasks.build_requests(CELL)] for _ in range(2))
    assert first == again == [i.args for i in library(tmp_path, Scoring(num_fewshot=2)).build_requests(CELL)]
    context = first[0][0]
    assert context.count("Answer:") == 3
    assert context.endswith("How much is 0 + 1?\nAnswer:")
    assert all(f"How much is {number} + 1?" not in context for number in range(1, 6))


def test_more_few_shot_examples_than_there_are_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    assert library(tmp_path, Scoring(num_fewshot=5)).build_requests(CELL)
    with pytest.raises(TaskError, match="quiz/en: 6 few-shot examples are asked for, and there are 5 to draw from"):
        library(tmp_path, Scoring(num_fewshot=6)).build_requests(CELL)


def test_few_shot_with_a_chat_template_is_a_conversation(tmp_path: Path) -> None:
    write(tmp_path)

    def template(messages: list[dict[str, str]], **_: Any) -> str:
        return " | ".join(message["role"] for message in messages)

    instances = library(tmp_path, Scoring(num_fewshot=2, apply_chat_template=True)).build_requests(CELL, template)
    assert instances[0].args[0] == "user | assistant | user | assistant | user"


def test_a_chat_may_begin_with_a_system_prompt(tmp_path: Path) -> None:
    write(tmp_path)

    def template(messages: list[dict[str, str]], **_: Any) -> str:
        return " | ".join(f"{message['role']}: {message['content']}" for message in messages)

    scoring = Scoring(apply_chat_template=True, system_prompt="Be brief.")
    first = library(tmp_path, scoring).build_requests(CELL, template)[0].args[0]
    assert first == "system: Be brief. | user: How much is 0 + 1?\nAnswer:"
    assert fingerprint(tmp_path, scoring) == fingerprint(tmp_path)  # it stands in the scoring recipe


def test_training_examples_from_the_definition_and_from_its_override(tmp_path: Path) -> None:
    write(tmp_path)
    assert library(tmp_path).examples(CELL)[0] == Example("How much is 100 + 1?\nAnswer:", " none")
    assert len(library(tmp_path).examples(CELL)) == 5
    other = library(tmp_path, doc_to_text="Q: {{question}}", doc_to_target="because {{note}}", split="test")
    assert other.examples(CELL)[:2] == (
        Example("Q: How much is 0 + 1?", " because x"),
        Example("Q: How much is 1 + 1?", " because x"),
    )
    index = library(tmp_path, doc_to_target="{{answer}}")
    assert index.examples(CELL)[0].answer == " none"


def test_training_examples_from_another_dataset(tmp_path: Path) -> None:
    write(tmp_path / "tasks")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in docs(3, 500)))
    tasks = library(tmp_path / "tasks", dataset_path=str(tmp_path / "more"))
    assert [example.prompt for example in tasks.examples(CELL)] == [
        f"How much is {i} + 1?\nAnswer:" for i in (500, 501, 502)
    ]


@pytest.mark.parametrize(
    ("rows", "target", "answer"),
    [
        ({"answer": [2, 0]}, "answer", " a lot"),
        ({"answer": "a lot"}, "answer", " a lot"),
    ],
    ids=["several right options", "the option itself"],
)
def test_the_answer_is_the_gold_option(rows: dict[str, Any], target: str, answer: str, tmp_path: Path) -> None:
    changed = [{**doc, **rows} for doc in docs(2)]
    write(tmp_path, changed, changed, doc_to_target=target)
    assert library(tmp_path).examples(CELL)[0].answer == answer


def test_two_inputs_with_one_continuation(tmp_path: Path) -> None:
    rows = [{**doc, "choices": ["It was Ann who", "It was Bob who"], "answer": 1} for doc in docs(2)]
    write(tmp_path, rows, rows, doc_to_text="answer", doc_to_target="left early")
    assert library(tmp_path).examples(CELL)[0] == Example("It was Bob who", " left early")
    first = fingerprint(tmp_path)
    write(tmp_path, [{**row, "answer": 0} for row in rows], rows, doc_to_text="answer", doc_to_target="left early")
    assert fingerprint(tmp_path) != first


def test_a_hidden_label_is_no_answer(tmp_path: Path) -> None:
    hidden = [{**doc, "answer": -1} for doc in docs(3)]
    write(tmp_path, train=hidden)
    with pytest.raises(TaskError, match="the labels of all 3 rows of its split are hidden"):
        library(tmp_path).examples(CELL)


def test_a_manifest_fixes_train_and_test_rows(tmp_path: Path) -> None:
    write(tmp_path)
    manifest = tmp_path / "rows.csv"
    manifest.write_text("split,id\ntrain,q103\ntrain,q101\ntest,q4\ntest,q1\n")
    tasks = library(tmp_path, manifest=str(manifest))
    assert [example.prompt.split()[3] for example in tasks.examples(CELL)] == ["103", "101"]
    assert {(i.doc_id, i.doc["id"]) for i in tasks.build_requests(CELL)} == {(1, "q1"), (4, "q4")}
    limited = library(tmp_path, Scoring(limit=1), manifest=str(manifest))
    assert len({i.doc_id for i in limited.build_requests(CELL)} & {1, 4}) == 1
    assert fingerprint(tmp_path, manifest=str(manifest)) != fingerprint(tmp_path)


def test_a_manifest_that_is_wrong_is_said(tmp_path: Path) -> None:
    write(tmp_path)
    manifest = tmp_path / "rows.csv"
    with pytest.raises(ConfigError, match="manifest"):
        library(tmp_path, manifest=str(manifest)).check([CELL])
    manifest.write_text("split,id\ntrain,q999\ntest,q999\n")
    with pytest.raises(TaskError, match="q999"):
        library(tmp_path, manifest=str(manifest)).examples(CELL)
    with pytest.raises(TaskError, match="q999"):
        library(tmp_path, manifest=str(manifest)).build_requests(CELL)
    manifest.write_text("name\nq1\n")
    with pytest.raises(TaskError, match="split,id"):
        library(tmp_path, manifest=str(manifest)).build_requests(CELL)


CHANGES: dict[str, dict[str, Any]] = {
    "data": {"test": [{**doc, "question": doc["question"] + "!"} for doc in docs(6)]},
    "one gold option": {"test": [{**doc, "answer": 2 if i == 4 else doc["answer"]} for i, doc in enumerate(docs(6))]},
    "one more row": {"test": docs(7)},
    "template": {"doc_to_text": "{{question}} Answer:"},
    "delimiter": {"target_delimiter": "  "},
    "metric": {"metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]},
}
NO_CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "training rows": {"train": docs(2, 50)},
    "a column nothing reads": {"test": [{**doc, "note": "y"} for doc in docs(6)]},
    "a word about it": {"metadata": {"version": 2.0}},
    "another folder": {"folder": "moved"},
}


@pytest.mark.parametrize("change", [*CHANGES, *NO_CHANGES])
def test_a_target_has_another_fingerprint_when_what_is_scored_changes_and_only_then(
    change: str, tmp_path: Path
) -> None:
    write(tmp_path / "tasks")
    before = fingerprint(tmp_path / "tasks")
    changes = dict({**CHANGES, **NO_CHANGES}[change])
    folder = tmp_path / str(changes.pop("folder", "tasks"))
    write(folder, **changes)
    assert (fingerprint(folder) != before) == (change in CHANGES)


def test_a_tasks_own_metric_is_in_the_fingerprint(tmp_path: Path) -> None:
    found = []
    for number, (body, note) in enumerate((("1.0", "x"), ("0.5", "x"), ("0.5", "y"))):
        folder = tmp_path / str(number)  # a module that was imported stays imported
        write(folder, [{**doc, "note": note} for doc in docs(4)], process_results=Function("marks.judge"))
        (folder / "marks.py").write_text(f"def judge(doc, results):\n    return {{'acc': {body}}}\n")
        found.append(fingerprint(folder))
    assert len(set(found)) == 3, "the code, or a field that the code may read, changed"


def test_examples_have_a_fingerprint_of_their_own(tmp_path: Path) -> None:
    write(tmp_path)
    source = Source.of([CELL])
    before = library(tmp_path).example_fingerprints(source)
    assert library(tmp_path, limit=4).example_fingerprints(source) != before
    assert library(tmp_path, doc_to_text="{{question}}").example_fingerprints(source) != before
    write(tmp_path, test=docs(3), metric_list=[{"metric": "acc_norm"}])
    assert library(tmp_path).example_fingerprints(source) == before


def test_a_dataset_that_the_tasks_own_code_makes(tmp_path: Path) -> None:
    write(tmp_path, dataset_path=None, dataset_kwargs={"count": 4}, custom_dataset=Function("rows.load"))
    (tmp_path / "rows.py").write_text(
        "import datasets\n"
        "def load(count, **_):\n"
        "    rows = [{'question': str(i), 'choices': ['a', 'b'], 'answer': 0} for i in range(count)]\n"
        "    return datasets.DatasetDict({s: datasets.Dataset.from_list(rows) for s in ('train', 'test')})\n"
    )
    assert len(library(tmp_path).build_requests(CELL)) == 8
    assert len(library(tmp_path).examples(CELL)) == 4


def test_an_unknown_task_names_the_key_and_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path)
    library(tmp_path).check([CELL])
    with pytest.raises(ConfigError) as caught:
        library(tmp_path).check([Cell("quiz", "em")])
    assert "tasks[quiz].lm_eval" in str(caught.value)
    assert "quiz_em" in str(caught.value)
    assert "quiz_en" in str(caught.value)
    with pytest.raises(ConfigError, match="no such folder"):
        library(tmp_path / "nowhere").check([CELL])


def test_a_name_that_is_nowhere_is_told_without_lm_evals_own_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    asked: list[bool] = []

    def manager(include_defaults: bool = True, **rest: Any) -> TaskManager:
        asked.append(include_defaults)
        return TaskManager(include_defaults=include_defaults, **rest)

    monkeypatch.setattr("study.data.catalogue.TaskManager", manager)
    with pytest.raises(ConfigError, match="did you mean quiz_en"):
        library(tmp_path).check([CELL, Cell("quiz", "em")])
    arc = TaskLibrary([TaskConfig(name="arc", lm_eval="arcc_{language}")], Scoring())
    with pytest.raises(ConfigError, match=r"lm-eval has no task 'arcc_easy'[^$]*arc_easy"):
        arc.check([Cell("arc", "easy")])
    assert asked == [False]


def test_a_definition_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "quiz_de.yaml").write_text("task: quiz_de\n  dataset_path: [\n")
    with pytest.raises(ConfigError, match=r"mend .*quiz_de.yaml, which is left out as it cannot be read: .*line 2"):
        library(tmp_path).check([Cell("quiz", "de")])


def _missing_file(folder: Path) -> None:
    write(folder)
    (folder / "test.jsonl").unlink()


def _no_json(folder: Path) -> None:
    write(folder)
    (folder / "test.jsonl").write_text("{not json")


def _no_such_field(folder: Path) -> None:
    write(folder, doc_to_choice="{{nothing}}")


def _late_row(folder: Path) -> None:
    write(folder, [*docs(3), {**docs(1)[0], "choices": None}])


@pytest.mark.parametrize("damage", [_missing_file, _no_json, _no_such_field, _late_row])
def test_broken_data_is_the_cells_own_failure(damage: Any, tmp_path: Path) -> None:
    damage(tmp_path)
    tasks = library(tmp_path)
    tasks.check([CELL])
    with pytest.raises(TaskError, match="quiz/en"):
        tasks.build_requests(CELL)


def test_broken_training_data_does_not_break_the_target(tmp_path: Path) -> None:
    write(tmp_path)
    for train, reason in (({"split": "dev"}, "no split 'dev'"), ({"doc_to_text": "{{ 1 // 0 }}"}, "ZeroDivisionError")):
        tasks = library(tmp_path, **train)
        with pytest.raises(TaskError, match=reason):
            tasks.examples(CELL)
        assert tasks.build_requests(CELL)
    write(tmp_path, training_split=None)
    with pytest.raises(TaskError, match="training split"):
        library(tmp_path).examples(CELL)


def test_gold_answers_that_cannot_be_read_are_a_task_error(tmp_path: Path) -> None:
    write(tmp_path, [*docs(3), {**docs(1)[0], "answer": 0, "note": None}], doc_to_target="{{ note.index('x') }}")
    with pytest.raises(TaskError, match="quiz/en"):
        fingerprint(tmp_path)


def test_cells_with_the_same_data_are_told_apart(tmp_path: Path) -> None:
    """Results are known by their cell: the same examples and requests under another task's name are others."""
    write(tmp_path, docs(3))
    one, other = (TaskConfig(name=name, lm_eval={"en": "quiz_en"}, include_path=str(tmp_path)) for name in ("a", "b"))
    tasks, cells = TaskLibrary([one, other], Scoring()), (Cell("a", "en"), Cell("b", "en"))
    assert len({tasks.target_fingerprint(cell, tasks.build_requests(cell)) for cell in cells}) == 2
    assert len({name for cell in cells for name in tasks.example_fingerprints(Source.of([cell]))}) == 2
