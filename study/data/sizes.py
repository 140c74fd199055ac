"""Sizes: what a study's models and data come to, kept in a file beside its config, so that a plan needs no network.

Figures that nobody could count may be assumed: `notes` says so and is printed with every estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from study.bounded import read_yaml
from study.config.fields import Count, Frozen, Number
from study.config.file import bases
from study.errors import ConfigError

ALL = "all"  # in `cells`: what holds for every model
OLDER = "Of an older file, as its notes say"


class CellSize(Frozen):
    """Items to score and the tokens that are read of them; training examples and their tokens, once through.

    `apart_tokens` are those of scoring where every option is read with its prompt, as lm-eval does; None if uncounted.
    So are `chosen_items` and their tokens, on which a lambda is chosen: of a validation split, or held out of training.
    Where `within` is None, what the whole file says holds for the cell.
    """

    items: Count
    score_tokens: Count
    examples: Count
    train_tokens: Count
    apart_tokens: Count | None = None
    chosen_items: Count | None = None
    chosen_tokens: Count | None = None
    within: Annotated[Number, Field(ge=1)] | None = None

    def read(self, limit: int | None) -> int:
        """Count the tokens to score, of so many items at most."""
        return _part(self.score_tokens, self.items, limit)

    def read_apart(self, limit: int | None) -> int | None:
        """Count the tokens to score with every option apart; None where they are not known."""
        return None if self.apart_tokens is None else _part(self.apart_tokens, self.items, limit)

    def read_chosen(self, limit: int | None, fraction: float) -> int:
        """Count the tokens to score of the items that a lambda is chosen on, of so many at most.

        Where nobody counted these, they are taken to be the fraction of the examples that training holds out, each as
        long as an item.
        """
        if self.chosen_items is not None and self.chosen_tokens is not None:
            return _part(self.chosen_tokens, self.chosen_items, limit)
        count = int(fraction * self.examples)
        return round(self.score_tokens / max(1, self.items) * (count if limit is None else min(count, limit)))

    def learned(self, limit: int | None) -> int:
        """Count the tokens to train on, of so many examples at most."""
        return _part(self.train_tokens, self.examples, limit)


def options_read(options: Sequence[Sequence[object]]) -> int:
    """Count the tokens that are read of an item's options: those that several begin with once, and the last of none.

    A last token is predicted only.
    """
    return len({tuple(tokens[:n]) for tokens in options for n in range(1, len(tokens))})


def _part(tokens: int, count: int, limit: int | None) -> int:
    return tokens if limit is None or limit >= count else round(tokens * limit / count)


class Sizes(Frozen):
    """`params` by model, of these `embedded` (embeddings, output heads), `cells` by model (or `all`) and cell, `notes`.

    `alike` says in whose cells a model is counted that reads as another does; true tokens are taken to be `within`
    this factor of those counted.
    """

    notes: tuple[str, ...]
    params: dict[str, Count]
    cells: dict[str, dict[str, CellSize]]
    embedded: dict[str, Count] = Field(default={})
    alike: dict[str, str] = Field(default={})
    within: Annotated[Number, Field(ge=1)] = 1.0

    def of(self, model: str) -> dict[str, CellSize]:
        """The cells of a model."""
        return self.cells.get(self.alike.get(model, model)) or self.cells.get(ALL, {})

    def cell(self, model: str, cell: str) -> CellSize | None:
        return self.of(model).get(cell)

    def body(self, model: str) -> int:
        """Parameters outside the embeddings, by which a model computes."""
        return self.params[model] - self.embedded.get(model, 0)

    def and_of(self, old: Sizes) -> Sizes:
        """These, and what only an older file has, whose notes stay where anything of it does."""
        mine: dict[str, dict[str, CellSize]] = {}
        for model in dict.fromkeys([*self.cells, *old.cells]):
            before = {cell: self._kept(size, old) for cell, size in old.of(model).items()}
            mine[model] = before | self.cells.get(model, {})
        kept = sorted({cell for model, some in mine.items() for cell in some.keys() - self.cells.get(model, {}).keys()})
        notes = [note for note in old.notes if note not in self.notes and not note.startswith(OLDER)]
        told = (f"{OLDER}: {', '.join(kept)}. They say:", *notes) if kept else ()
        return Sizes(
            notes=(*self.notes, *told),
            params=old.params | self.params,
            embedded=old.embedded | self.embedded,
            cells=mine,
            alike={model: other for model, other in old.alike.items() if model not in mine},
            within=self.within,
        )

    @staticmethod
    def _kept(size: CellSize, old: Sizes) -> CellSize:
        return size.model_copy(update={"within": size.within or old.within})


def sizes_file(config: str | Path) -> Path | None:
    """Find the sizes beside a config or beside the one that it extends; None where there are none."""
    files = (path.with_suffix(".sizes.yaml") for path in bases(config))
    return next((file for file in files if file.is_file()), None)


def read_sizes(file: Path) -> Sizes:
    """Read a file of sizes. Raises ConfigError for another file."""
    try:
        return Sizes.model_validate(read_yaml(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "sizes", file, f"cannot be read ({error})", "delete it and make it again: python -m study.sizes CONFIG"
        ) from error
