"""`python -m study.sizes CONFIG`: count a study's models and data, and write CONFIG's `.sizes.yaml`.

Models and data must be at hand. From then on the study can be planned where they are not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from study.cells import Cell
from study.config import StudyConfig
from study.config.file import load
from study.data.sizes import CellSize, Sizes
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, TaskError
from study.faults.network import Unreachable
from study.plain import say


def count(config: StudyConfig) -> Sizes:
    """Count everything. Raises ConfigError for a model that cannot be had, TaskError for data."""
    from transformers import AutoTokenizer

    from study.models.hub import local_folder
    from study.models.resolve import resolve_all

    library, models = TaskLibrary.of(config), resolve_all(config)
    rows = {
        cell: [e.prompt + e.answer for e in library.examples(cell)] for s in config.source_list() for cell in s.cells
    }
    items = {cell: _item_texts(library, cell) for cell in config.target_list()}
    cells: dict[str, dict[str, CellSize]] = {}
    for model in models:
        folder = local_folder(model.path, model.revision, weights=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
        tokens: Callable[[Sequence[str]], int] = lambda texts, t=tokenizer: sum(map(len, t(list(texts))["input_ids"]))  # type: ignore[misc]  # noqa: E731
        cells[model.name] = {
            str(cell): CellSize(
                items=len(items.get(cell, ())),
                score_tokens=tokens(items[cell]) if items.get(cell) else 0,
                examples=len(rows.get(cell, ())),
                train_tokens=tokens(rows[cell]) if rows.get(cell) else 0,
            )
            for cell in dict.fromkeys([*items, *rows])
        }
    notes = ("Counted with each model's own tokenizer, without a chat template's own tokens.",)
    return Sizes(notes=notes, params={model.name: model.params for model in models}, cells=cells)


def _item_texts(library: TaskLibrary, cell: Cell) -> list[str]:
    """List each item's prompt with all its options, as the engine reads them."""
    texts: dict[int, list[str]] = {}
    for request in library.build_requests(cell):
        prompt, *rest = (part for part in request.args if isinstance(part, str))
        texts.setdefault(request.doc_id, [prompt]).extend(rest)
    return ["".join(parts) for parts in texts.values()]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m study.sizes", description="Count what a study's plan needs.")
    parser.add_argument("config", help="YAML file of the study")
    options = parser.parse_args(arguments)
    try:
        counted = count(load(options.config))
    except (ConfigError, TaskError, Unreachable) as error:
        say(f"error: {error}", sys.stderr)
        return 2
    file = Path(options.config).with_suffix(".sizes.yaml")
    file.write_text(yaml.safe_dump(counted.model_dump(mode="json"), sort_keys=False, width=120), encoding="utf-8")
    say(f"written: {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
