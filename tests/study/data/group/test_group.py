"""lm-eval groups as tasks: what they ask, what is learned of them, what a limit takes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.cells import Cell
from study.config import Scoring, TaskConfig, Validation
from study.data.held_out import split
from study.data.metrics import of_all_items
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, TaskError
from tests.evaluators.conftest import make_docs, write_task

CELL = Cell("all", "en")
ACC = {"metric": "acc"}


def write(folder: Path, **group: Any) -> None:
    write_task(folder, "one", make_docs(4, seed=1))
    write_task(folder, "two", make_docs(6, seed=2))
    stated = {"group": "all_en", "task": ["one", "two"], "aggregate_metric_list": [ACC], **group}
    (folder / "all_en.yaml").write_text(yaml.safe_dump(stated), encoding="utf-8")


def library(folder: Path, general: Scoring | None = None, **task: Any) -> TaskLibrary:
    own = TaskConfig(name="all", lm_eval="all_{language}", include_path=str(folder), **task)
    return TaskLibrary([own], general or Scoring())


def fingerprint(folder: Path, **task: Any) -> str:
    tasks = library(folder, **task)
    tasks.check([CELL])
    return tasks.target_fingerprint(CELL, tasks.build_requests(CELL))


def test_its_tasks_are_asked_and_learned_one_after_another(tmp_path: Path) -> None:
    write(tmp_path)
    alone = [TaskLibrary([TaskConfig(name=n, lm_eval={"en": n}, include_path=str(tmp_path))], Scoring()) for n in
             ("one", "two")]  # fmt: skip
    cells = [Cell("one", "en"), Cell("two", "en")]
    asked = [one.args for own, cell in zip(alone, cells, strict=True) for one in own.build_requests(cell)]
    tasks = library(tmp_path)
    requests = tasks.build_requests(CELL)
    assert [one.args for one in requests] == asked
    assert sorted({one.doc_id for one in requests}) == list(range(10))
    learned = [example for own, cell in zip(alone, cells, strict=True) for example in own.examples(cell)]
    assert list(tasks.examples(CELL)) == learned


def test_what_it_says_of_its_metrics_is_in_its_identity(tmp_path: Path) -> None:
    found = set()
    for name, more in (("a", {}), ("b", {"weight_by_size": False}), ("c", {"filter_list": "none"})):
        write(tmp_path / name, aggregate_metric_list=[ACC | more])
        found.add(fingerprint(tmp_path / name))
    write(tmp_path / "d", task=["two", "one"])
    assert len(found | {fingerprint(tmp_path / "d")}) == 4


def test_a_limit_is_of_the_group_and_takes_rows_of_all_its_tasks(tmp_path: Path) -> None:
    write(tmp_path)
    tasks = library(tmp_path, Scoring(limit=5), train={"limit": 6})
    taken = {one.doc_id for one in tasks.build_requests(CELL)}
    assert len(taken) == 5
    assert min(taken) < 4 <= max(taken)
    few = {one.doc_id for one in library(tmp_path, Scoring(limit=2)).build_requests(CELL)}
    assert few < taken
    assert len(tasks.examples(CELL)) == 6


def test_examples_of_few_shots_are_each_tasks_own(tmp_path: Path) -> None:
    write(tmp_path)
    tasks = library(tmp_path, Scoring(num_fewshot=2))
    assert all(one.args[0].count("Question:") == 3 for one in tasks.build_requests(CELL))
    assert library(tmp_path).own_shots(CELL) == 0


@pytest.mark.parametrize(
    ("group", "task", "told"),
    [
        ({"aggregate_metric_list": None}, {}, "all/en: lm-eval group all_en does not say what its tasks come to"),
        ({"aggregate_metric_list": [{"metric": "bleu"}]}, {}, "aggregates bleu, which none of its tasks computes"),
        ({"task": ["one", "rolls"]}, {}, "tasks of several kinds (output_type: loglikelihood_rolling; multiple_choice"),
        ({}, {"metric": "acc_norm"}, "its group does not say what its tasks come to by it; use one of acc"),
        ({}, {"scoring": {"max_gen_toks": 3}}, "is of answers that are written"),
        ({}, {"scoring": {"num_fewshot": 50}}, "50 few-shot examples are asked for"),
    ],
)
def test_what_is_no_one_number_is_refused_in_a_line(
    group: dict[str, Any], task: dict[str, Any], told: str, tmp_path: Path
) -> None:
    write(tmp_path, **group)
    rolls = {"output_type": "loglikelihood_rolling", "doc_to_choice": None, "doc_to_text": "", "metric_list": None}
    write_task(tmp_path, "rolls", make_docs(3, 3), **rolls | {"doc_to_target": "question"})
    with pytest.raises(TaskError) as error:
        library(tmp_path, **task).load(CELL)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).count("all/en: ") == 1


def test_a_task_that_is_nowhere_is_told_before_anything_is_loaded(tmp_path: Path, monkeypatch: Any) -> None:
    write(tmp_path, task=["one", "tow"])
    tasks = library(tmp_path)
    monkeypatch.setattr(type(tasks._catalogue), "_everything", tasks._catalogue._folder(str(tmp_path)))
    with pytest.raises(ConfigError, match="names 'tow', which is nowhere"):
        tasks.check([CELL])


@pytest.mark.parametrize(("by_size", "limit", "told"), [(True, None, None), (False, None, "acc"), (False, 1, None)])
def test_where_no_item_has_its_number_that_is_known(
    by_size: bool, limit: int | None, told: str | None, tmp_path: Path
) -> None:
    """One item of one task is what all of its tasks have."""
    write(tmp_path, aggregate_metric_list=[ACC | {"weight_by_size": by_size}])
    tasks = library(tmp_path, Scoring(limit=limit))
    tasks.build_requests(CELL)
    assert of_all_items(tasks.load(CELL), ()) == told


def test_code_of_any_of_its_tasks_is_asked_about(tmp_path: Path) -> None:
    write(tmp_path)
    file = tmp_path / "two.yaml"
    file.write_text(file.read_text().replace("doc_to_target: answer", "doc_to_target: !function mine.target"))
    with pytest.raises(ConfigError, match="trust_code"):
        library(tmp_path).check([CELL])


@pytest.mark.parametrize("own_split", [False, True])
def test_a_lambda_is_chosen_on_what_its_tasks_hold_out(own_split: bool, tmp_path: Path) -> None:
    """On each task's validation split where all have one, else on the rows that training on the group holds out."""
    for n, name in enumerate(("one", "two")):
        held = {"validation_split": "validation"} if own_split or name == "one" else {}
        files = {part: str(tmp_path / f"{part}{n}.jsonl") for part in ("train", "validation")}
        for seed, file in enumerate(files.values(), 10 * (n + 1)):
            Path(file).write_text("".join(json.dumps(doc) + "\n" for doc in make_docs(10, seed)))
        files["test"] = str(tmp_path / f"{name}.jsonl")
        write_task(tmp_path, name, make_docs(4, n), dataset_kwargs={"data_files": files}, **held)
    group = {"group": "all_en", "task": ["one", "two"], "aggregate_metric_list": [ACC]}
    (tmp_path / "all_en.yaml").write_text(yaml.safe_dump(group))
    tasks, held_out = library(tmp_path), Cell("all", "en", held_out=True)
    requests = tasks.build_requests(held_out)
    asked = {str(one.args[0]) for one in requests}
    learned = tasks.examples(CELL)
    kept = {learned[i].prompt for i in split(len(learned), Validation())[1]}
    assert len(asked) == (20 if own_split else 2)
    assert not asked & kept if own_split else asked == kept
    assert not asked & {str(one.args[0]) for one in tasks.build_requests(CELL)}
    assert tasks.target_fingerprint(held_out, requests) != tasks.target_fingerprint(CELL, tasks.build_requests(CELL))
