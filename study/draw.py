"""`python -m study.draw CONFIG`: draw the items of a study and write the manifests that its config names.

A manifest holds for all languages of a task: it draws ids that every language has, so that scores in all languages are
on the same items. Where a task trains on the split that it scores, it trains on what is not drawn for scoring.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from pathlib import Path

from study.cells import Cell
from study.config import StudyConfig
from study.config.file import load
from study.data.manifest import row_id
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, TaskError
from study.faults.network import Unreachable
from study.plain import say


def draw(library: TaskLibrary, cells: list[Cell], items: int, examples: int, seed: int) -> dict[str, list[str]]:
    """Draw ids to train on and to score: of those that all cells have, at most so many, never one in both."""
    common: dict[str, set[str]] = {}
    for cell in cells:
        train, test = library.documents(cell)
        for split, documents in (("train", train), ("test", test)):
            field = library.train(cell).id_field
            ids = {row_id(document, number, field) for number, document in enumerate(documents)}
            common[split] = common.get(split, ids) & ids
    lots = {split: sorted(ids) for split, ids in common.items()}
    for split, lot in lots.items():
        random.Random(f"{split}:{seed}").shuffle(lot)
    test_ids = lots["test"][:items]
    taken = set(test_ids)
    return {"train": [one for one in lots["train"] if one not in taken][:examples], "test": test_ids}


def write(config: StudyConfig, items: int, examples: int, seed: int) -> list[Path]:
    """Write every manifest that is not there yet. Raises TaskError for data that cannot be had."""
    library, written = TaskLibrary.of(config), []
    named: dict[tuple[str, str | None], list[Cell]] = {}
    for cell in config.cells():
        named.setdefault((cell.task, library.train(cell).manifest), []).append(cell)
    for (_, manifest), cells in named.items():
        if manifest is None or Path(manifest).exists():
            continue
        drawn = draw(library, cells, items, examples, seed)
        file = Path(manifest)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([("split", "id"), *((s, one) for s, ids in drawn.items() for one in ids)])
        written.append(file)
    return written


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m study.draw", description="Write the manifests a config names.")
    parser.add_argument("config", help="YAML file of the study")
    parser.add_argument("--items", type=int, default=400, help="items to score per task (default: 400)")
    parser.add_argument("--examples", type=int, default=1119, help="examples to train on, at most (default: 1119)")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args(arguments)
    try:
        for file in write(load(options.config), options.items, options.examples, options.seed):
            say(f"written: {file}")
    except (ConfigError, TaskError, Unreachable) as error:
        say(f"error: {error}", sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
