"""`python -m study.sizes CONFIG`: count a study's models and data, and write CONFIG's `.sizes.yaml`.

Models and data must be at hand. From then on the study can be planned where they are not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from study.cells import Cell
from study.config import Recipe, StudyConfig
from study.config.expansion import held_out, learned
from study.config.file import load
from study.data.example import Example
from study.data.sizes import CellSize, Sizes, options_read, read_sizes
from study.data.tasks import TaskLibrary
from study.data.turns import said
from study.errors import ConfigError, TaskError
from study.faults.network import Unreachable
from study.plain import say, tell

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

Tokens = Callable[[Sequence[str], bool], list[list[int]]]  # of each text, with special tokens or without


def count(config: StudyConfig) -> Sizes:
    """Count everything. Raises ConfigError for a model that cannot be had, TaskError for data."""
    from study.models.chat import tokenizer_of
    from study.models.resolve import resolve_all

    library, models = TaskLibrary.of(config), resolve_all(config)
    longest = max(config.trained_by.values(), key=lambda recipe: recipe.max_length)
    rows = {cell: library.examples(cell) for source in learned(config) for cell in source.cells}
    targets, chosen = config.target_list(), {replace(cell, held_out=False): cell for cell in held_out(config)}
    cells: dict[str, dict[str, CellSize]] = {}
    for model in models:
        tokenizer = tokenizer_of(model)

        def tokens(texts: Sequence[str], special: bool, by: Tokenizer = tokenizer) -> list[list[int]]:
            return list(by(list(texts), add_special_tokens=special)["input_ids"]) if texts else []

        cells[model.name] = {}
        for cell in dict.fromkeys([*targets, *rows]):
            examples = rows.get(cell, ())
            items, read, apart = _scored(library, tokenizer, tokens, cell) if cell in targets else (0, 0, 0)
            on = _scored(library, tokenizer, tokens, chosen[cell]) if cell in chosen else (None, None)
            cells[model.name][str(cell)] = CellSize(
                items=items,
                score_tokens=read,
                examples=len(examples),
                train_tokens=_learned(tokens, examples, longest),
                apart_tokens=apart,
                chosen_items=on[0],
                chosen_tokens=on[1],
            )
    return Sizes(
        notes=("Counted with each model's own tokenizer; of conversations that are learned what is said in them.",),
        params={model.name: model.params for model in models},
        embedded={model.name: model.embedded for model in models},
        cells=cells,
    )


def _scored(library: TaskLibrary, tokenizer: Tokenizer, tokens: Tokens, cell: Cell) -> tuple[int, int, int]:
    """Count a cell's items, and the tokens that are read of them: as they are, and with every option apart."""
    from study.models.chat import begins, template_of

    items = _items(library, cell, template_of(tokenizer, library.scoring(cell)))
    return len(items), *_read(tokens, items, special=all(begins(tokenizer, prompt) for prompt, *_ in items))


def _items(library: TaskLibrary, cell: Cell, chat: Callable[..., str] | None) -> list[list[str]]:
    """List each item's prompt, as the chat template writes it where there is one, and its options."""
    texts: dict[int, list[str]] = {}
    for request in library.build_requests(cell, chat):
        prompt, *rest = (part for part in request.args if isinstance(part, str))
        texts.setdefault(request.doc_id, [prompt]).extend(rest)
    return list(texts.values())


def _learned(tokens: Tokens, examples: Sequence[Example], recipe: Recipe) -> int:
    """Count the tokens that are learned from: of each example as many as are left of it, of a raw text all."""
    counted = 0
    for special in (True, False):
        some = [one for one in examples if one.bos is special]
        for one, ids in zip(some, tokens([said(one) for one in some], special), strict=True):
            counted += len(ids) if one.format == "text" else min(len(ids), one.max_length or recipe.max_length)
    return counted


def _read(tokens: Tokens, items: Sequence[Sequence[str]], special: bool) -> tuple[int, int]:
    """Count the tokens that are read of items, and those where every option is read with its prompt, as lm-eval does.

    It does so where any option has several tokens; an option's last token is predicted only.
    """
    prompts = tokens([prompt for prompt, *_ in items], special)
    wholes = iter(tokens([prompt + option for prompt, *options in items for option in options], special))
    read, apart = 0, 0
    for prompt, (_, *options) in zip(prompts, items, strict=True):
        each = [next(wholes) for _ in options]
        read += len(prompt) + options_read([whole[len(prompt) :] for whole in each])
        longest = max(map(len, each), default=0)
        apart += len(prompt) if longest <= len(prompt) + 1 else sum(len(whole) - 1 for whole in each)
    return read, apart


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m study.sizes", description="Count what a study's plan needs.")
    result.add_argument("config", metavar="CONFIG", help="YAML file of the study")
    result.add_argument("--json", action="store_true", help="print the file's name and what it holds as JSON")
    return result


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    file = Path(options.config).with_suffix(".sizes.yaml")
    try:
        counted = count(load(options.config))
        if file.is_file():  # it may have cells of studies that build on this one
            counted = counted.and_of(read_sizes(file))
    except (ConfigError, TaskError, Unreachable) as error:
        say(f"error: {error}", sys.stderr)
        return 2
    told = counted.model_dump(mode="json", exclude_defaults=True)
    file.write_text(yaml.safe_dump(told, sort_keys=False, width=120), encoding="utf-8")
    if options.json:
        tell({"written": str(file), **told})
    else:
        say(f"written: {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
