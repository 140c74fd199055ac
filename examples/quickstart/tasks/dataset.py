"""The rows of one cell, for lm-eval's `custom_dataset`.

A task's file holds, per language, the names of its concepts, and once for all languages the items: which
concept is asked about, which four are offered, where the gold one stands. A row is an item said in a language.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import datasets

DATA = Path(__file__).resolve().parent / "data"
SPLITS = ("train", "test")


@cache
def read(task: str) -> dict[str, Any]:
    """The parsed file of a task: `sources`, `keys`, `names` and `items`."""
    path = DATA / f"{task}.json"
    if not path.is_file():
        known = sorted(p.stem for p in DATA.glob("*.json"))
        raise FileNotFoundError(f"task: {task!r} has no data file; use one of {known}")
    return json.loads(path.read_text(encoding="utf-8"))


def rows(task: str, language: str, split: str) -> list[dict[str, Any]]:
    """Rows of a split: `id`, `key`, `choices` (4 names) and `answer` (index of the gold one)."""
    world = read(task)
    if language not in world["names"]:
        raise ValueError(f"language: {language!r} is not in {task}; use one of {sorted(world['names'])}")
    names = world["names"][language]
    keys = world["keys"].get(language, {})
    return [
        {
            "id": item["id"],
            "key": keys.get(item["key"], item["key"]),
            "choices": [names[concept] for concept in item["options"]],
            "answer": item["answer"],
        }
        for item in world["items"]
        if item["split"] == split
    ]


def load(task: str, language: str, **_: Any) -> datasets.DatasetDict:
    """Train and test rows of the cell `task/language`; lm-eval passes its metadata too, which is ignored."""
    return datasets.DatasetDict({split: datasets.Dataset.from_list(rows(task, language, split)) for split in SPLITS})
