"""Real rows in the fields of the published study's sets: the quickstart's, and those of a folder that is given."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import yaml

from examples.quickstart.tasks import dataset
from tests.support.published import LANGUAGES, Row

QUICKSTART = {"arc_challenge": "territory", "global_mmlu": "currency", "hellaswag": "number", "truthfulqa": "emoji"}


def quickstart(task: str, language: str, split: str, count: int) -> list[Row]:
    """Territories, currencies, numbers and emoji, asked as the quickstart asks."""
    name = QUICKSTART[task]
    cell = Path(dataset.__file__).parent / "cells" / f"{name}_{language}.yaml"
    asks = yaml.safe_load(cell.read_text(encoding="utf-8"))["doc_to_text"]
    rows = dataset.rows(name, language, split)[:count]
    return [_as(task, i, asks.replace("{{key}}", row["key"]), row) for i, row in enumerate(rows)]


def languages_of(folder: Path) -> list[str]:
    """The study's languages in which every task of a folder has rows to train on."""
    each = [{file.name.partition(".")[0] for file in (folder / task).glob("*.train.jsonl*")} for task in QUICKSTART]
    return sorted(set.intersection({*LANGUAGES}, *each))


def given(folder: Path, task: str, language: str, split: str, count: int) -> list[Row]:
    """Rows of a folder's TASK/LANGUAGE.SPLIT.jsonl or .jsonl.gz.

    They are in the fields of the task's set, or each is a `question` with `choices` and `answer`, the right number.
    """
    (file,) = (folder / task).glob(f"{language}.{split}.jsonl*")
    read = gzip.decompress if file.suffix == ".gz" else bytes
    rows = list(map(json.loads, read(file.read_bytes()).decode().splitlines()))[:count]
    if "choices" not in rows[0]:
        return rows
    return [_as(task, i, row["question"], row) for i, row in enumerate(rows)]


def _as(task: str, number: int, asked: str, row: Row) -> Row:
    """A question with its options and the right one's number, in the fields and types of a task's set."""
    options, right = row["choices"], row["answer"]
    lettered = {f"option_{letter}": option for letter, option in zip("abcd", options[:4], strict=True)}
    if task == "arc_challenge":
        return {"id": row["id"], "instruction": asked, **lettered, "option_e": None, "answer": "ABCD"[right]}
    if task == "global_mmlu":
        return {"sample_id": row["id"], "question": asked, **lettered, "answer": "ABCD"[right]}
    if task == "hellaswag":
        told = {"ctx_a": asked, "ctx_b": "", "activity_label": "", "endings": options[:4], "label": str(right)}
        return {"id": row["id"], **told}
    labels = [int(place == right) for place in range(len(options))]
    targets = {f"mc{n}_targets_{key}": value for n in "12" for key, value in (("choices", options), ("labels", labels))}
    return {"truth_id": number, "question": asked, **targets}
