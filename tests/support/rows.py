"""Rows and records as a store holds them, of a study that was never run, and what a small store says is done."""

from __future__ import annotations

from datetime import UTC, datetime

from study.store import schema
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
        "gold": 0,
        "pred": 0,
        "pred_norm": 0,
        "correct": 1.0,
        "correct_norm": 1.0,
    }
    return {**row, "loglikelihoods": [-1.0, -2.0], "option_chars": [1, 1], "generation": None}


def record_of(adapter_id: str, **changes: object) -> dict[str, object]:
    """What an adapter's record says, but for its files, which the store adds."""
    record = {"adapter_id": adapter_id, "model": "m", "source": ["t/en"], "seconds": 1.0, "tokens": {"useful": 10}}
    record |= {
        "examples": {"train": 1, "validation": 0},
        "world_size": 1,
        "device": "cpu",
        "recipe": {"lora": {"r": 4}},
    }
    return {**record, **changes}


def done_scores(store: Store) -> set[str]:
    """score_ids whose score rows are there."""
    return set(store.scores(["score_id"]).column("score_id").to_pylist())
