"""`tasks[].metric`: lm-eval's own numbers for each kind of task, the headline item by item, else draws of items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evaluators.evaluator import Evaluator, Settings
from evaluators.items.bootstrap import DRAWS
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.store.store import Store
from tests.evaluators.conftest import make_docs, model_of, unit_of, write_task
from tests.evaluators.test_texts import FILTERED, ROLLING, WRITING
from tests.study.data.test_tasks import Function

METRICS: dict[str, tuple[str, ...]] = {  # of each kind: what the config names and the task's file does not
    "choice": ("mcc", "f1", "acc", "brier_score"),
    "writing": ("chrf", "bleu", "ter", "chrf++", "rougeL", "script"),
    "filtered": ("exact_match,letters", "exact_match"),
    "cloze": ("perplexity", "acc"),
    "rolling": ("byte_perplexity",),
}
CLOZE: dict[str, Any] = {
    "output_type": "loglikelihood",
    "doc_to_choice": None,
    "doc_to_target": "{{choices[0]}}",
}
OURS = ("rougeL", "script")


def stated(names: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"metric": name} for name in names if name not in OURS and "," not in name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each task twice: as it is, and (`…_full`) with the metrics in its file, for lm-eval."""
    folder = tmp_path_factory.mktemp("tasks")
    docs = make_docs(12, seed=2, options=2)
    kinds = {"choice": {}, "writing": WRITING, "filtered": FILTERED, "cloze": CLOZE, "rolling": ROLLING}
    few = {"choice": "acc_norm", "cloze": "acc", "rolling": "word_perplexity"}
    for kind, keys in kinds.items():
        bare = {**keys, "metric_list": [{"metric": few[kind]}]} if kind in few else keys
        write_task(folder, f"quiz_{kind}", docs, **bare)
        write_task(folder, f"full_{kind}", docs, **keys | {"metric_list": stated(METRICS[kind])})
    return folder


@pytest.fixture(scope="module")
def store(folder: Path, outspoken_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(str(tmp_path_factory.mktemp("metrics") / "store"))
    tasks = tuple(
        TaskConfig(name=kind, lm_eval="quiz_{language}", include_path=str(folder), metric=names)
        for kind, names in METRICS.items()
    )
    results = Evaluator(model_of(outspoken_model), store, Settings(tasks, Scoring())).score(
        [unit_of(Cell(kind, kind)) for kind in METRICS]
    )
    assert [result.message for result in results] == [None] * len(METRICS)
    return store


def found(store: Store, kind: str) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    items = [row for row in store.items().to_pylist() if row["target_task"] == kind]
    scores = {row["metric"]: row for row in store.scores().to_pylist() if row["target_task"] == kind}
    return sorted(items, key=lambda row: row["doc_id"]), scores


def test_a_task_without_an_accuracy_counts_by_what_it_computes(tmp_path: Path, outspoken_model: Path) -> None:
    """Not by whether the likeliest option is the one it calls right: of a pair of stereotypes neither is."""
    judged = "def bias(doc, results):\n    return {'bias': float(results[0][0] > results[1][0])}\n"
    (tmp_path / "judge.py").write_text(judged)
    own = {"metric_list": [{"metric": "bias", "aggregation": "mean", "higher_is_better": False}]}
    docs = make_docs(9, seed=4, options=2)
    write_task(tmp_path, "quiz_mcc", docs, metric_list=[{"metric": "mcc"}])
    write_task(tmp_path, "quiz_bias", docs, **own, process_results=Function("judge.bias"), doc_to_target=0)
    write_task(tmp_path, "quiz_bytes", docs, metric_list=[{"metric": "acc_bytes"}])
    task = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path), trust_code=True)
    store, kinds = Store(str(tmp_path / "store")), ("mcc", "bias", "bytes")
    results = Evaluator(model_of(outspoken_model), store, Settings((task,), Scoring())).score(
        [unit_of(Cell("quiz", kind)) for kind in kinds]
    )
    assert [result.message for result in results] == [None] * len(kinds)
    rows = {kind: [row for row in store.items().to_pylist() if row["target_language"] == kind] for kind in kinds}
    heads = {row["target_language"]: row for row in store.scores().to_pylist() if row["headline"]}
    assert {row["correct"] for row in rows["mcc"]} == {row["graded"] for row in rows["mcc"]} == {None}
    assert heads["mcc"]["replicates"] is not None
    assert {row["correct"] for row in rows["bias"]} == {None}
    for kind, column, sign in (("bias", "graded", -1), ("bytes", "correct", 1)):
        values = [sign * row[column] for row in rows[kind]]
        assert sum(values) / len(values) == pytest.approx(heads[kind]["value"])


@pytest.mark.parametrize("kind", METRICS)
def test_added_metrics_are_lm_evals(kind: str, store: Store, folder: Path, outspoken_model: Path, harness: Any) -> None:
    _, scores = found(store, kind)
    full = TaskConfig(name="full", lm_eval="full_{language}", include_path=str(folder))
    expected, _ = harness(outspoken_model, full, kind, Scoring())
    first = "first" if kind == "filtered" else "none"
    for name in METRICS[kind]:
        if name not in OURS:
            key = name if "," in name else f"{name},{first}"
            assert scores[name]["value"] == pytest.approx(expected[key], rel=1e-4, abs=1e-6), name
    assert [name for name, row in scores.items() if row["headline"]] == [METRICS[kind][0]]
    assert {name: scores[name]["higher_is_better"] for name in METRICS[kind]} == {
        name: name not in ("ter", "perplexity", "brier_score", "byte_perplexity") for name in METRICS[kind]
    }


def test_an_item_is_graded_by_the_headline_where_it_has_one(store: Store) -> None:
    for kind, column in {"cloze": "bits", "rolling": "bits_per_byte"}.items():
        items, scores = found(store, kind)
        assert {row["graded_metric"] for row in items} == {column}
        assert {row["correct"] for row in items} == {None}
        assert all(row["graded"] < 0 for row in items)
        assert all(row["replicates"] is None for row in scores.values())
    mean = sum(row["graded"] for row in found(store, "cloze")[0]) / 12
    assert 2**-mean == pytest.approx(found(store, "cloze")[1]["perplexity"]["value"], rel=1e-5)
    items, scores = found(store, "filtered")
    assert sum(row["correct"] for row in items) / 12 == pytest.approx(scores["exact_match,letters"]["value"])
    assert [one["name"] for one in items[0]["metrics"]] == ["exact_match,letters", "exact_match"]


def test_a_metric_of_all_items_has_draws_and_no_item_has_a_grade(store: Store) -> None:
    for kind, drawn in {"choice": {"mcc", "f1", "brier_score"}, "writing": {"chrf", "bleu", "ter", "chrf++"}}.items():
        items, scores = found(store, kind)
        assert {row["correct"] for row in items} == {row["graded"] for row in items} == {None}
        assert {name for name, row in scores.items() if row["replicates"]} == drawn
        for name in drawn:
            values = scores[name]["replicates"]
            assert len(values) == DRAWS
            assert min(values) - 1e-4 <= scores[name]["value"] <= max(values) + 1e-4
    kept = {one["name"] for row in found(store, "writing")[0] for one in row["metrics"]}
    assert kept == set(OURS)
