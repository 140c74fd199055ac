"""lm-eval groups as cells: what lm-eval's own run of the group says, of the group and of each of its tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluators.evaluator import Evaluator, Settings
from evaluators.items.bootstrap import DRAWS
from evaluators.items.judge import BOOTSTRAP_ITERATIONS
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.store.store import Store
from tests.evaluators.conftest import make_docs, model_of, unit_of, write_task
from tests.evaluators.test_parity import TOLERANCE
from tests.evaluators.test_texts import FILTERED

ACC = {"metric": "acc", "aggregation": "mean"}
CHOSEN = {"filter_list": ["letters"], "metric": "exact_match"}  # not the first of its tasks' filters
GROUPS: dict[str, dict[str, Any]] = {
    "by_size": {"task": ["quiz_a", "quiz_b", "quiz_c"], "aggregate_metric_list": [ACC]},
    "by_task": {"task": ["quiz_a", "quiz_b", "quiz_c"], "aggregate_metric_list": [ACC | {"weight_by_size": False}]},
    "alike": {"task": ["quiz_a", "quiz_b"], "aggregate_metric_list": [ACC | {"weight_by_size": False}]},
    "nested": {
        "task": ["by_size_of_two", "quiz_c"],
        "aggregate_metric_list": [ACC, {"metric": "acc_norm", "weight_by_size": False}],
    },
    "by_size_of_two": {"task": ["two"], "aggregate_metric_list": [ACC]},  # a tag
    "whole": {"task": ["said_a", "said_b"], "aggregate_metric_list": [{"metric": "f1"}, {"metric": "mcc"}]},
    "written": {"task": ["wrote_a", "wrote_b"], "aggregate_metric_list": [{"metric": "exact_match"}, CHOSEN]},
}
DRAWN = {"by_task", "nested", "whole"}  # no mean of items: tasks count alike, or have what no item has


def write_groups(folder: Path) -> None:
    for name, count, seed in (("a", 7, 1), ("b", 7, 2), ("c", 12, 3)):
        tagged = {"tag": ["two"]} if name != "c" else {}
        write_task(folder, f"quiz_{name}", make_docs(count, seed), **tagged)
    for name, count in (("a", 9), ("b", 6)):
        said = {"metric_list": [{"metric": "f1"}, {"metric": "mcc"}]}
        write_task(folder, f"said_{name}", make_docs(count, count, options=2), **said)
        write_task(folder, f"wrote_{name}", make_docs(count, count), **FILTERED)
    for name, group in GROUPS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"group": name, **group}), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groups")
    write_groups(folder)
    return folder


@pytest.fixture(scope="module")
def store(folder: Path, outspoken_model: Path) -> Store:
    store = Store(str(folder / "store"))
    tasks = tuple(TaskConfig(name=name, lm_eval={"en": name}, include_path=str(folder)) for name in GROUPS)
    results = Evaluator(model_of(outspoken_model), store, Settings(tasks, Scoring())).score(
        [unit_of(Cell(name, "en")) for name in GROUPS]
    )
    assert [result.message for result in results] == [None] * len(GROUPS)
    return store


@pytest.fixture(scope="module")
def theirs(folder: Path, outspoken_model: Path) -> dict[str, Any]:
    from lm_eval import evaluator, simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    evaluator.add_env_info = lambda results: None
    lm, found = HFLM(pretrained=str(outspoken_model), dtype="float32", device="cpu", batch_size=8), {}
    for name in GROUPS:  # one that is in two groups would be refused
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        run = simple_evaluate(lm, tasks=[name], task_manager=manager, bootstrap_iters=BOOTSTRAP_ITERATIONS)
        found[name] = run["results"] | {"samples": run["samples"]}
    return found


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_is_what_lm_eval_makes_of_it(name: str, store: Store, theirs: dict[str, Any]) -> None:
    results, samples = theirs[name], theirs[name]["samples"]
    scores = {row["metric"]: row for row in store.scores().to_pylist() if row["target_task"] == name}
    first = "first" if name == "written" else "none"
    expected = {}
    for task in (name, *samples):
        for key, value in results[task].items():
            if "," in key and "_stderr" not in key:
                called = key.removesuffix(f",{first}") + ("" if task == name else f"@{task}")
                expected[called] = (value, results[task][key.replace(",", "_stderr,")])
    assert scores.keys() == expected.keys()
    for called, (value, stderr) in expected.items():
        assert scores[called]["value"] == pytest.approx(value, abs=1e-6, rel=5 * TOLERANCE), called
        known = None if stderr == "N/A" else pytest.approx(stderr, abs=TOLERANCE, rel=5 * TOLERANCE)
        assert scores[called]["stderr"] == known, called
    assert sum(row["headline"] for row in scores.values()) == 1


@pytest.mark.parametrize("name", GROUPS)
def test_items_are_those_of_its_tasks_one_after_another(name: str, store: Store, theirs: dict[str, Any]) -> None:
    rows = [row for row in store.items().to_pylist() if row["target_task"] == name]
    items = sorted(rows, key=lambda row: row["doc_id"])
    first = {
        task: [s for s in own if s["filter"] in ("none", "first")] for task, own in theirs[name]["samples"].items()
    }
    samples = [(task, one) for task, own in first.items() for one in sorted(own, key=lambda s: s["doc_id"])]
    assert [row["doc_id"] for row in items] == list(range(len(samples)))
    for row, (task, sample) in zip(items, samples, strict=True):
        assert (row["subtask"], row["doc_hash"]) == (task, sample["doc_hash"])


@pytest.mark.parametrize("name", GROUPS)
def test_what_items_have_is_what_the_group_says_of_them(name: str, store: Store) -> None:
    """Else the group's number would be one thing, and the one that inference goes by another."""
    scores = {row["metric"]: row for row in store.scores().to_pylist() if row["target_task"] == name}
    head = next(row for row in scores.values() if row["headline"])
    rows = [row for row in store.items().to_pylist() if row["target_task"] == name]
    column = "correct_norm" if head["metric"] == "acc_norm" else "correct"
    values = [row[column] for row in rows]
    if name in DRAWN:
        assert set(values) == {None}
        assert len(head["replicates"]) == DRAWS
        assert min(head["replicates"]) < head["value"] < max(head["replicates"])
    else:
        assert sum(values) / len(values) == pytest.approx(head["value"])
        assert head["replicates"] is None
