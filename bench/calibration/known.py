"""A store whose truth is known: a study of `bench.calibration.worlds`, as a run would have left it.

`python -m bench.calibration.known FOLDER [WORLD]` writes one of 24 sources and targets, three seeds, 100 items: *one
harm* (task t0 costs task t1 ten points and nothing else has an effect; the default), *null* (no effect at all), or
another world.
"""

from __future__ import annotations

import argparse
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench.calibration.worlds import World, draw
from study.store import schema
from study.store.store import Store

MODEL, PARAMETERS, SEED = "known-1B", 1_000_000_000, 20251113
OPTIONS = 4
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def write(folder: Path, world: World) -> None:
    """One part per adapter, the base's first."""
    study, store, rng = draw(world, SEED), Store(str(folder)), np.random.default_rng(SEED)
    columns, source = study.columns[0], study.source[0]
    bases, golds = [], []
    for column in columns:
        gained, lost = (column.difference == way for way in (100, -100))
        unchanged = rng.random(column.difference.shape[1]) < 0.5
        bases.append(np.where(lost.any(axis=0), True, np.where(gained.any(axis=0), False, unchanged)))
        golds.append(rng.integers(0, OPTIONS, len(unchanged)))
    subjects = []
    for adapter in (None, *range(len(source))):
        who = None if adapter is None else (*world.cells[source[adapter]], int(adapter % world.seeds) + 1)
        items: list[dict[str, object]] = []
        scores: list[dict[str, object]] = []
        for cell, column, base, gold in zip(world.cells, columns, bases, golds, strict=True):
            right = base if adapter is None else base + column.difference[adapter] / 100 > 0.5
            unit = _unit(who, cell)
            items += _items(unit, right, gold, rng)
            scores.append(_score(unit, right))
        store.append(items, scores)
        about = scores[0] | {"model_size": 1.0, "model_family": "known"}
        subjects.append({name: about[name] for name in schema.SUBJECTS.names})
    targets = [
        {"target_id": "/".join(cell), "target_task": cell[0], "target_language": cell[1]} for cell in world.cells
    ]
    store.write_grid(schema.table(schema.SUBJECTS, subjects), schema.table(schema.TARGETS, targets))
    store.write("study.yaml", f"config: {{study: {folder.name}}}\n".encode())


def _unit(who: tuple[str, str, int] | None, target: tuple[str, str]) -> dict[str, object]:
    task, language, seed = who or (None, None, None)
    return {
        "score_id": _hash(who, target),
        "adapter_id": who and _hash(who),
        "model": MODEL,
        "model_params": PARAMETERS,
        "source_task": task,
        "source_language": language,
        "source_size": None,
        "recipe": None,
        "epoch": None,
        "seed": seed,
        "target_task": target[0],
        "target_language": target[1],
    }


def _items(
    unit: dict[str, object], right: np.ndarray, gold: np.ndarray, rng: np.random.Generator
) -> list[dict[str, object]]:
    picks = np.where(right, gold, (gold + rng.integers(1, OPTIONS, len(gold))) % OPTIONS)
    same = unit | {"loglikelihoods": [-3.0] * OPTIONS, "option_chars": [5] * OPTIONS, "written_at": WHEN}
    same |= dict.fromkeys(("correct_norm", "graded", "graded_metric", "metrics", "generation", "cut_off", "subtask"))
    names = [_hash(unit["target_task"], unit["target_language"], i) for i in range(len(gold))]
    facts = zip(names, gold.tolist(), picks.tolist(), right.astype(float).tolist(), strict=True)
    return [
        same | {"doc_id": i, "doc_hash": name, "gold": truth, "pred": pick, "pred_norm": pick, "correct": score}
        for i, (name, truth, pick, score) in enumerate(facts)
    ]


def _score(unit: dict[str, object], right: np.ndarray) -> dict[str, object]:
    names = {"subject_id": unit["adapter_id"] or MODEL, "target_id": f"{unit['target_task']}/{unit['target_language']}"}
    values = {"metric": "acc", "value": float(right.mean()), "stderr": None, "n_items": len(right)}
    cost = {"seconds": 0.5, "tokens": 100, "device": "none", "engine": "synthetic"}
    values |= {"headline": True, "higher_is_better": True, "replicates": None, "day_fixed": None}
    return unit | names | values | cost | {"base_compared": True, "written_at": WHEN}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("world", nargs="?", default="one harm", help="what is true: the effects of a world")
    options = parser.parse_args()
    write(options.folder, World(options.world, options.world, tasks=4, languages=6, seeds=3))


if __name__ == "__main__":
    main()
