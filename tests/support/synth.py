"""Synthetic stores with a known truth, made only of what the store's own writers take. Deterministic."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from study.store.schema import SUBJECTS, TARGETS, table
from study.store.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Shape:
    """What to make: a full grid unless cells are dropped."""

    models: tuple[tuple[str, float], ...] = (("tiny-1B", 1.0),)
    tasks: tuple[str, ...] = ("names", "numbers")
    languages: tuple[str, ...] = ("de", "en", "fr")
    seeds: tuple[int, ...] = (1, 2)
    items: int = 20
    options: int = 4
    seed: int = 0
    drop: float = 0.0  # share of trained score units left out
    normed: bool = True  # whether the tasks define a length-normalised accuracy


def ident(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def probability(shape: Shape, model: str, source: tuple[str, str] | None, target: tuple[str, str]) -> float:
    """True accuracy: a base of 0.35 to 0.6, own cell +0.2, own task +0.08, own language +0.02, else slightly down."""
    rng = np.random.default_rng(int(ident(shape.seed, model, target), 16) % 2**32)
    base = 0.35 + 0.25 * rng.random()
    if source is None:
        return float(base)
    same_task, same_language = source[0] == target[0], source[1] == target[1]
    gain = 0.2 if same_task and same_language else 0.08 if same_task else 0.02 if same_language else -0.02
    wobble = np.random.default_rng(int(ident(shape.seed, source, target), 16) % 2**32).normal(0, 0.03)
    return float(np.clip(base + gain + wobble, 0.05, 0.95))


def unit_rows(
    shape: Shape,
    model: tuple[str, float],
    source: tuple[str, str] | None,
    seed: int | None,
    target: tuple[str, str],
    adapter_id: str | None = None,
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Item and score rows of one unit."""
    name, billions = model
    if source is not None:
        adapter_id = ident(shape.seed, name, source, seed)
    score_id = ident(shape.seed, name, adapter_id, target)
    rng = np.random.default_rng(int(score_id, 16) % 2**32)
    items = np.random.default_rng(int(ident(shape.seed, name, target), 16) % 2**32)
    difficulty, gold = items.random(shape.items), items.integers(0, shape.options, shape.items)
    keys: dict[str, object] = {
        "score_id": score_id,
        "adapter_id": adapter_id,
        "model": name,
        "model_params": int(billions * 1e9),
        "source_task": source[0] if source else None,
        "source_language": source[1] if source else None,
        "source_size": None,
        "recipe": None,
        "epoch": None,
        "seed": seed,
        "target_task": target[0],
        "target_language": target[1],
    }
    chance = probability(shape, name, source, target)
    rights = [(0.7 * difficulty + 0.3 * rng.random(shape.items)) < chance for _ in range(2)]
    wrong = (gold + 1 + rng.integers(0, shape.options - 1, shape.items)) % shape.options
    rows: list[dict[str, object]] = []
    for i in range(shape.items):
        picks = [int(gold[i]) if right[i] else int(wrong[i]) for right in rights]
        likes = rng.normal(-3, 1, shape.options)
        rows.append(
            keys
            | {
                "doc_id": i,
                "doc_hash": ident(target, i),
                "gold": int(gold[i]),
                "pred": picks[0],
                "pred_norm": picks[1],
                "correct": float(rights[0][i]),
                "correct_norm": float(rights[1][i]) if shape.normed else None,
                "graded": None,
                "graded_metric": None,
                "metrics": None,
                "loglikelihoods": likes.tolist(),
                "option_chars": [5] * shape.options,
                "generation": None,
                "cut_off": None,
                "subtask": None,
                "written_at": NOW,
            }
        )
    metrics = {"acc": rights[0].mean(), **({"acc_norm": rights[1].mean()} if shape.normed else {})}
    scores: list[dict[str, object]] = [
        keys
        | {
            "subject_id": adapter_id or name,
            "target_id": "/".join(target),
            "metric": metric,
            "value": float(value),
            "stderr": None,
            "n_items": shape.items,
            "seconds": 0.5,
            "tokens": 100,
            "device": "cpu",
            "engine": "test",
            "higher_is_better": True,
            "headline": None,
            "replicates": None,
            "base_compared": True,
            "day_fixed": True,
            "written_at": NOW,
        }
        for metric, value in metrics.items()
    ]
    return rows, scores


def write_store(root: Path, shape: Shape, grid: bool = True, drop: Sequence[int] = ()) -> Store:
    """A store of the shape: one part file per adapter, the base first; `drop` lists trained units to leave out."""
    store = Store(str(root))
    cells = [(t, lang) for t in shape.tasks for lang in shape.languages]
    rng, count, subjects = np.random.default_rng(shape.seed), 0, []
    for model in shape.models:
        who = [(None, None), *((source, seed) for source in cells for seed in shape.seeds)]
        for source, seed in who:
            items, scores = [], []
            for target in cells:
                unit_items, unit_scores = unit_rows(shape, model, source, seed, target)
                if target == cells[0]:
                    about = unit_scores[0] | {"model_size": model[1], "model_family": model[0].split("-")[0]}
                    subjects.append({name: about[name] for name in SUBJECTS.names})
                count += source is not None
                if source is not None and (rng.random() < shape.drop or count - 1 in drop):
                    continue
                items += unit_items
                scores += unit_scores
            store.append(items, scores)
    if grid:
        targets = [{"target_id": f"{t}/{lang}", "target_task": t, "target_language": lang} for t, lang in cells]
        store.write_grid(table(SUBJECTS, subjects), table(TARGETS, targets))
    store.write("study.yaml", f"config: {{study: synthetic, store: {root.name}}}\n".encode())
    return store
