"""Sizes: what a study's models and data come to, kept in a file beside its config, so that a plan needs no network.

`python -m study.sizes CONFIG` counts them on a machine where models and data can be had, and writes CONFIG's
`.sizes.yaml`. Figures that nobody could count may be assumed: `notes` says so and is printed with every estimate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from study.cells import Cell
from study.config import Frozen, StudyConfig
from study.config.fields import Count
from study.config.file import bases, load
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, TaskError
from study.faults.network import Unreachable

ALL = "all"  # in `cells`: what holds for every model


class CellSize(Frozen):
    """Items to score and their tokens, a prompt once per item; training examples and their tokens, once through."""

    items: Count
    score_tokens: Count
    examples: Count
    train_tokens: Count

    def read(self, limit: int | None) -> int:
        """Tokens to score, of so many items at most."""
        return _part(self.score_tokens, self.items, limit)

    def learned(self, limit: int | None) -> int:
        """Tokens to train on, of so many examples at most."""
        return _part(self.train_tokens, self.examples, limit)


def _part(tokens: int, count: int, limit: int | None) -> int:
    return tokens if limit is None or limit >= count else round(tokens * limit / count)


class Sizes(Frozen):
    """`params` by model, `cells` by model (or `all`) and cell, the Hub's `datasets` they are from, and what to know."""

    notes: tuple[str, ...]
    params: dict[str, Count]
    cells: dict[str, dict[str, CellSize]]
    datasets: tuple[str, ...] = ()

    def cell(self, model: str, cell: str) -> CellSize | None:
        return (self.cells.get(model) or self.cells.get(ALL, {})).get(cell)


def sizes_file(config: str | Path) -> Path | None:
    """The sizes beside a config or beside the one it extends; None where there are none."""
    files = (path.with_suffix(".sizes.yaml") for path in bases(config))
    return next((file for file in files if file.is_file()), None)


def read_sizes(file: Path) -> Sizes:
    """Raises ConfigError for a file that holds none."""
    try:
        return Sizes.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError("sizes", file, f"cannot be read ({error})", "make it again: python -m study.sizes") from error


def count(config: StudyConfig) -> Sizes:
    """Count everything. Raises ConfigError for a model that cannot be had, TaskError for data."""
    from transformers import AutoTokenizer

    from study.models.resolve import resolve_all

    library, models = TaskLibrary.of(config), resolve_all(config)
    rows = {
        cell: [e.prompt + e.answer for e in library.examples(cell)] for s in config.source_list() for cell in s.cells
    }
    items = {cell: _item_texts(library, cell) for cell in config.target_list()}
    cells: dict[str, dict[str, CellSize]] = {}
    for model in models:
        tokenizer = AutoTokenizer.from_pretrained(model.path, revision=model.revision)
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
    """Each item's prompt and all its options, as the engine reads them."""
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
        print(f"error: {error}", file=sys.stderr)
        return 2
    file = Path(options.config).with_suffix(".sizes.yaml")
    file.write_text(yaml.safe_dump(counted.model_dump(mode="json"), sort_keys=False, width=120), encoding="utf-8")
    print(f"written: {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
