"""What a plan doubts of the data: a line each, by what is planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluators.items.item import check_supported
from orchestrator.planning.doubts import doubts
from orchestrator.planning.survey import Survey, survey
from study.cells import Source
from study.config import Recipe
from study.config.file import parse
from study.data.tasks import TaskLibrary
from tests.study.data.test_tasks import Function, docs, write


def surveyed(
    folder: Path, test: list[dict[str, Any]], train: list[dict[str, Any]], more: str = "", **changes: Any
) -> Survey:
    write(folder, test, train, **changes)
    task = f"{{name: quiz, lm_eval: 'quiz_{{language}}', include_path: '{folder}', trust_code: true}}"
    config = parse(f"models: [{{id: none}}]\nlanguages: [en]\ntasks: [{task}]\n{more}")
    return survey(config, TaskLibrary.of(config), check_supported, print)


def learned(found: Survey) -> dict[str, tuple[Source, Recipe]]:
    return {str(source): (source, Recipe()) for source in found.examples}


def test_sound_data_are_not_doubted(tmp_path: Path) -> None:
    found = surveyed(tmp_path, docs(40), docs(30, 100))
    assert list(doubts(found, {"quiz/en": 0}, learned(found), {})) == []


def test_what_is_wrong_is_named_and_counted(tmp_path: Path) -> None:
    test = [{**doc, "choices": ["yes", "no"], "answer": 0} for doc in docs(12)]
    found = surveyed(tmp_path, test, [*test[:4], *docs(9, 100)], "scoring: {limit: 10}")
    told = list(doubts(found, {"quiz/en": 5}, learned(found), {}))
    (examples,), (hashes,) = found.examples.values(), found.test_hashes.values()
    taken = len(hashes & {example.doc_hash for example in examples})
    assert 2 <= taken <= 4  # the limit takes 10 of 12
    assert told == [
        f"rows to learn are among the items that are scored: {taken} of quiz/en in quiz/en: take them out of one, or "
        "name another split",
        "fewer than 30 items are scored of quiz/en (10): what is said of so few is mostly luck",
        "all items have one right answer in quiz/en: who always says that is right: look at the split, or at the limit",
        "a limit leaves out items of quiz/en (10 of 12): scoring.limit says so",
        "rows are longer than what is learned of them, and cut, in quiz/en (5 of 13): raise recipe.max_length",
    ]


def test_options_of_their_own_are_no_one_answer_though_the_first_is_always_right(tmp_path: Path) -> None:
    found = surveyed(
        tmp_path, [{**doc, "answer": 0} for doc in docs(40)], [{**doc, "answer": 1} for doc in docs(30, 100)]
    )
    (told,) = doubts(found, {}, {}, {})
    assert told.startswith("all rows to learn have one answer in quiz/en: ")


def test_a_task_that_judges_by_itself_need_not_say_what_is_right(tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text("def judge(doc, results):\n    return {'followed': 1.0}\n")
    metric = {"metric": "followed", "aggregation": "mean", "higher_is_better": True}
    own = {"output_type": "generate_until", "doc_to_choice": None, "doc_to_target": 0, "metric_list": [metric]}
    test, train = docs(40), docs(30, 100)
    (told,) = doubts(surveyed(tmp_path, test, train, **own, process_results=Function("judge.judge")), {}, {}, {})
    assert told.startswith("all rows to learn have one answer in quiz/en: ")


def test_a_metric_of_all_items_together_is_told(tmp_path: Path) -> None:
    for name, own, told in (
        ("mcc", [{"metric": "mcc"}], ["only all items together have the metric of quiz/en (mcc): "]),
        ("both", [{"metric": "mcc"}, {"metric": "acc"}], []),  # then an accuracy speaks for it
    ):
        found = surveyed(tmp_path / name, docs(40), docs(30, 100), metric_list=own)
        assert [line[:58] for line in doubts(found, {}, learned(found), {})] == [line[:58] for line in told]


def test_ids_that_rows_share_are_named_where_rows_are_drawn_by_them(tmp_path: Path) -> None:
    found = surveyed(tmp_path, [{**doc, "id": "x"} for doc in docs(40)], docs(30, 100), "scoring: {limit: 35}")
    told = [line for line in doubts(found, {}, {}, {}) if "share" in line]
    fix = "name a column of ids of their own: train.id_field"
    assert told == [f"rows are drawn by ids that several of them share, of quiz/en (40 items, 'x' among them): {fix}"]


def test_ids_that_stand_more_than_once_are_counted_also_where_nothing_is_drawn_by_them(tmp_path: Path) -> None:
    rows = docs(30, 100)
    found = surveyed(tmp_path, docs(40), [*rows, {**docs(1, 200)[0], "id": rows[4]["id"]}])
    (told,) = doubts(found, {}, {}, {})
    assert told.startswith("ids stand more than once, of quiz/en (2 rows to learn, 'q104' among them): nothing is ")


def formatted(folder: Path, form: str, rows: list[dict[str, Any]]) -> Survey:
    """A source in a format of its own beside the quiz, two of whose items share a passage."""
    passage = "A passage that several of the items ask about."
    test = [
        {**doc, "passage": passage if i < 2 else f"Passage {i}, of one item, told at length."}
        for i, doc in enumerate(docs(40))
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write(folder, test, docs(9, 100), doc_to_text="{{question}}")
    own = f"{{name: own, train: {{format: {form}, data_files: '{folder}/rows.jsonl'}}}}"
    quiz = f"{{name: quiz, lm_eval: 'quiz_{{language}}', include_path: '{folder}'}}"
    config = parse(f"models: [{{id: none}}]\nlanguages: [en]\ntasks: [{own}, {quiz}]\nsources: [own/en]\n")
    return survey(config, TaskLibrary.of(config), check_supported, print)


@pytest.mark.parametrize("form", ["prompt_completion", "messages"])
def test_rows_of_another_form_that_ask_what_items_ask_are_counted(form: str, tmp_path: Path) -> None:
    """All of a prompt, or a long field within it; what several items say, or an answer says, tells nothing."""
    items = docs(40)
    asked = [*(items[i]["question"].upper() for i in (3, 4, 4)), "Read. passage 7, of one item, told at length. Well?"]
    other = ["A passage that several of the items ask about.", "Else?", *(f"Other {i}?" for i in range(5))]
    pairs = [*((one, "yes") for one in (*asked, *other)), ("Which?", items[5]["question"])]
    keys = {"prompt_completion": lambda a, b: {"prompt": a, "completion": b}, "messages": conversation}
    found = formatted(tmp_path, form, [keys[form](*pair) for pair in pairs])
    told = [line for line in doubts(found, {}, {}, {}) if "asked" in line]
    assert told == ["4 of 12 rows to learn of own/en say what is asked in 3 of 40 items of quiz/en"]
    apart = formatted(tmp_path, form, [keys[form](*pair) for pair in pairs[4:]])
    assert not [line for line in doubts(apart, {}, {}, {}) if "asked" in line]


def conversation(asked: str, said: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
