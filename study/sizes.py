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
from study.data.turns import said
from study.errors import ConfigError, TaskError
from study.faults.network import Unreachable
from study.plain import say

Lengths = Callable[[Sequence[str]], list[int]]  # tokens of each text


def count(config: StudyConfig) -> Sizes:
    """Count everything. Raises ConfigError for a model that cannot be had, TaskError for data."""
    from transformers import AutoTokenizer

    from study.models.hub import local_folder
    from study.models.resolve import resolve_all

    library, models = TaskLibrary.of(config), resolve_all(config)
    rows = {
        cell: [said(example) for example in library.examples(cell)] for s in config.source_list() for cell in s.cells
    }
    items = {cell: _items(library, cell) for cell in config.target_list()}
    cells: dict[str, dict[str, CellSize]] = {}
    for model in models:
        folder = local_folder(model.path, model.revision, weights=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
        lengths: Lengths = lambda texts, t=tokenizer: [len(ids) for ids in t(list(texts))["input_ids"]] if texts else []  # type: ignore[misc]  # noqa: E731
        cells[model.name] = {
            str(cell): CellSize(
                items=len(items.get(cell, ())),
                score_tokens=sum(lengths(["".join(item) for item in items.get(cell, ())])),
                examples=len(rows.get(cell, ())),
                train_tokens=sum(lengths(rows.get(cell, ()))),
                apart_tokens=_apart(lengths, items.get(cell, ())),
            )
            for cell in dict.fromkeys([*items, *rows])
        }
    notes = ("Counted with each model's own tokenizer, without a chat template's own tokens.",)
    return Sizes(notes=notes, params={model.name: model.params for model in models}, cells=cells)


def _items(library: TaskLibrary, cell: Cell) -> list[list[str]]:
    """List each item's prompt and its options, which the engine reads as one text."""
    texts: dict[int, list[str]] = {}
    for request in library.build_requests(cell):
        prompt, *rest = (part for part in request.args if isinstance(part, str))
        texts.setdefault(request.doc_id, [prompt]).extend(rest)
    return list(texts.values())


def _apart(lengths: Lengths, items: Sequence[Sequence[str]]) -> int:
    """Count the tokens where every option is read with its prompt, as lm-eval does where any has several tokens."""
    prompts = lengths([prompt for prompt, *_ in items])
    wholes = iter(lengths([prompt + option for prompt, *options in items for option in options]))
    read = 0
    for prompt, (_, *options) in zip(prompts, items, strict=True):
        each = [next(wholes) for _ in options]
        read += prompt if not each or max(each) == prompt + 1 else sum(each)
    return read


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
