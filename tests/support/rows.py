"""Rows and records as a store holds them, of a study that was never run, and what a small store says is done."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from study.store import schema
from study.store.records import AdapterRecord
from study.store.store import Store


def score_row(score_id: str = "s1", **changes: object) -> dict[str, object]:
    row = dict.fromkeys(schema.SCORES.names)
    row |= {"score_id": score_id, "model": "m", "model_params": 1, "target_task": "t", "target_language": "en"}
    row |= {"subject_id": "m", "target_id": "t/en"}
    row |= {"metric": "acc", "value": 0.5, "n_items": 4, "seconds": 0.1, "tokens": 10, "device": "cpu"}
    return {**row, "engine": "plain", "written_at": datetime.now(UTC), **changes}


def item_row(score_id: str, doc_id: int) -> dict[str, object]:
    row = {name: value for name, value in score_row(score_id).items() if name in schema.ITEMS.names}
    row |= {
        "doc_id": doc_id,
        "doc_hash": "h",
        "subtask": None,
        "gold": 0,
        "pred": 0,
        "pred_norm": 0,
        "correct": 1.0,
        "correct_norm": 1.0,
        "graded": None,
        "graded_metric": None,
        "metrics": None,
    }
    return {**row, "loglikelihoods": [-1.0, -2.0], "option_chars": [1, 1], "generation": None, "cut_off": None}


def record_of(adapter_id: str, **changes: object) -> AdapterRecord:
    """An adapter's record; `changes` are keys of record.json."""
    record = {"adapter_id": adapter_id, "model": "m", "source": ["t/en"], "recipe": {"lora": {"r": 4}}, "files": {}}
    record |= {"seconds": 1.0, "tokens": {"useful": 10, "padded": 10}, "examples": {"train": 1, "validation": 0}}
    record |= {"world_size": 1, "device": "cpu", "written_at": "2026-01-01T00:00:00+00:00"}
    return AdapterRecord.from_bytes(json.dumps({**record, **changes}))


def record_text(adapter_id: str, **changes: object) -> bytes:
    """The file of such a record."""
    return json.dumps(record_of(adapter_id, **changes).to_json()).encode()


def done_scores(store: Store) -> set[str]:
    """score_ids whose score rows are there."""
    return set(store.scores(["score_id"]).column("score_id").to_pylist())
