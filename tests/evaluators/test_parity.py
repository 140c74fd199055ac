"""Our scores beside lm-eval's `hf` model with `peft=`, on the same weights, in the same process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evaluators.evaluator import Evaluator, Settings
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.store.store import Store
from study.units import ScoreUnit
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, unit_of, write_task

TOLERANCE = 1e-3  # nats per option, float32


def compare(store: Store, unit: ScoreUnit, metrics: dict[str, Any], samples: list[dict[str, Any]]) -> None:
    """Every item and metric of a unit in the store equals lm-eval's."""
    items = sorted(
        (row for row in store.items().to_pylist() if row["score_id"] == unit.score_id), key=lambda row: row["doc_id"]
    )
    assert [row["doc_id"] for row in items] == [sample["doc_id"] for sample in samples]
    for row, sample in zip(items, samples, strict=True):
        expected = [response[0][0] for response in sample["resps"]][: len(row["loglikelihoods"])]
        assert row["loglikelihoods"] == pytest.approx(expected, abs=TOLERANCE)
        assert row["doc_hash"] == sample["doc_hash"]
        if "acc" in sample:
            assert row["correct"] == sample["acc"]
        if "acc_norm" in sample:
            assert row["correct_norm"] == sample["acc_norm"]
    scores = {row["metric"]: row for row in store.scores().to_pylist() if row["score_id"] == unit.score_id}
    names = {key.removesuffix(",none") for key in metrics if key.endswith(",none") and "_stderr" not in key}
    assert scores.keys() == names
    for name in names:
        assert scores[name]["value"] == pytest.approx(
            metrics[f"{name},none"], abs=1e-6 if "acc" in name else TOLERANCE, rel=5 * TOLERANCE
        )
        stderr = metrics[f"{name}_stderr,none"]
        assert scores[name]["stderr"] == (
            None if stderr == "N/A" else pytest.approx(stderr, abs=TOLERANCE, rel=5 * TOLERANCE)
        )


def _quiz(folder: Path, language: str, docs: list[dict[str, Any]], **changes: Any) -> TaskConfig:
    write_task(folder, f"quiz_{language}", docs, **changes)
    return TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    # name: (documents, changes to the task, scoring)
    "several tokens": ({"count": 12, "seed": 1}, {}, {}),
    "longer than the model": ({"count": 6, "seed": 2, "long": 200}, {}, {}),
    "one token": ({"count": 8, "seed": 3}, {"doc_to_choice": ["A", "B", "C", "D"]}, {}),
    "empty context": ({"count": 6, "seed": 4}, {"doc_to_text": ""}, {}),
    "context ends in a space": ({"count": 6, "seed": 5}, {"doc_to_text": "{{question}}  ", "target_delimiter": ""}, {}),
    "no border": ({"count": 6, "seed": 6}, {"doc_to_text": "{{question}} app", "target_delimiter": ""}, {}),
    "begins with the start token": ({"count": 6, "seed": 7}, {"doc_to_text": "<s>{{question}}"}, {}),
    "few-shot": ({"count": 8, "seed": 8}, {}, {"num_fewshot": 2}),
    "chat template": ({"count": 6, "seed": 9}, {}, {"apply_chat_template": True}),
    "chat template, few-shot": ({"count": 6, "seed": 10}, {}, {"apply_chat_template": True, "num_fewshot": 1}),
    "limit": ({"count": 6, "seed": 11}, {}, {"limit": 4}),
    "other metrics": (
        {"count": 9, "seed": 12},
        {
            "metric_list": [
                {"metric": m} for m in ("acc", "exact_match", "acc_bytes", "brier_score", "mcc", "acc_mutual_info")
            ]
        },
        {},
    ),
    "two inputs, one continuation": (
        {"count": 6, "seed": 13, "options": 2},
        {
            "doc_to_text": "answer",
            "doc_to_choice": "{{[question + choices[0], question + choices[1]]}}",
            "doc_to_target": "plum is",
        },
        {},
    ),
    "several right options": ({"count": 6, "seed": 14}, {"doc_to_target": "{{[answer, 0]}}"}, {}),
    "target as text": ({"count": 6, "seed": 15}, {"doc_to_target": "{{choices[answer]}}"}, {}),
    "loglikelihood": (
        {"count": 6, "seed": 16},
        {
            "output_type": "loglikelihood",
            "doc_to_choice": None,
            "doc_to_target": " {{choices[0]}}",
            "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
        },
        {},
    ),
}


NO_BOS = (
    "several tokens",
    "longer than the model",
    "one token",
    "empty context",
    "context ends in a space",
    "no border",
)


@pytest.mark.parametrize(("case", "bos"), [*((c, True) for c in CASES), *((c, False) for c in NO_BOS)])
def test_equals_lm_eval(
    case: str, bos: bool, tmp_path: Path, harness: Any, outspoken_model: Path, outspoken_no_bos_model: Path
) -> None:
    docs, changes, settings = CASES[case]
    model = outspoken_model if bos else outspoken_no_bos_model
    task, scoring = _quiz(tmp_path / "tasks", "en", make_docs(**docs), **changes), Scoring(**settings)
    adapter = make_adapter(model, tmp_path / "adapter", seed=5)
    store = Store(str(tmp_path / "store"))
    evaluator = Evaluator(model_of(model), store, Settings((task,), scoring, 512))
    cell = Cell("quiz", "en")
    with_adapter = (unit_of(cell, put_adapter(store, adapter, "a")), adapter)
    for unit, local in ((unit_of(cell), None), with_adapter) if case == "several tokens" else (with_adapter,):
        (scored,) = evaluator.score([unit])
        assert scored.ok, scored.traceback
        metrics, samples = harness(model, task, "en", scoring, local)
        compare(store, unit, metrics, samples)
    assert {row["engine"].split()[0] for row in store.scores().to_pylist()} == {"shared"}
