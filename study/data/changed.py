"""Sources whose data are changed: a translation in place of the original, words switched, some of other cells beside.

Invariant: what is drawn hangs on the text itself and the seed, never on the order of rows; and what a lower rate
switches a higher one switches, too.
"""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from study.cells import Cell, Change, Source, Switch
from study.config import TrainOverride
from study.config.train import ByLanguage
from study.data.example import Example, told
from study.errors import TaskError
from study.identity import digest

Dictionary = Mapping[str, tuple[str, ...]]
Examples = tuple[Example, ...]


@dataclass
class Count:
    """How many words of a source's texts were switched, of those that the dictionary has, of all."""

    switched: int = 0
    known: int = 0
    words: int = 0


@dataclass(frozen=True)
class Changed:
    """The examples of each cell of a source, and what was switched in them."""

    examples: list[Examples]
    words: Count


class SourceExamples:
    """The examples of sources, which are those of their cells, or are changed."""

    def __init__(self) -> None:
        self._changed: dict[Source, Changed] = {}

    def sample(self, cell: Cell, size: int | None) -> Examples:
        """So many of a cell's examples, or all."""
        raise NotImplementedError

    def with_data(self, cell: Cell, file: str) -> SourceExamples:
        """The same cell as it is learned from another file."""
        raise NotImplementedError

    def each_of(self, source: Source) -> list[Examples]:
        """List the examples of each cell of a source. Raises TaskError."""
        if source.change is None:
            return [self.sample(cell, size) for cell, size in zip(source.cells, source.sizes, strict=True)]
        if source not in self._changed:
            self._changed[source] = changed(self, source)
        return self._changed[source].examples

    def source_examples(self, source: Source) -> Examples:
        """List the examples of all cells of a source, cell after cell. Raises TaskError."""
        return tuple(example for examples in self.each_of(source) for example in examples)

    def example_fingerprints(self, source: Source) -> list[str]:
        """Digest each cell of a source: its name there, its examples with templates applied. Raises TaskError."""
        named = zip(source.names, self.each_of(source), strict=True)
        return [digest([name, *map(told, examples)]) for name, examples in named]

    def switched(self) -> dict[Source, Count]:
        """Count the words of those sources in whose text some are replaced by another language's."""
        return {source: one.words for source, one in self._changed.items() if one.words.words}


def changed(library: SourceExamples, source: Source) -> Changed:
    """Make the examples of a source whose data are changed. Raises TaskError."""
    change, count, found = source.change or Change(), Count(), []
    shots = dict(change.shots)
    for cell, size in zip(source.cells, source.sizes, strict=True):
        if cell in shots:
            found.append(library.sample(cell, size))
            if len(found[-1]) < shots[cell]:
                raise TaskError(
                    f"{source}: sources[{source.name}].shots asks for {shots[cell]:,} examples of {cell}, "
                    f"which has {len(found[-1]):,}: lower it, or train on both cells: a list in `sources`"
                )
            continue
        own = library.sample(cell, size) if change.data is None else _translated(library, source, cell, change.data)
        found.append(own if change.switch is None else _switched(own, change.switch, source, count))
    return Changed(found, count)


def in_place(train: TrainOverride[ByLanguage], file: str) -> TrainOverride[ByLanguage]:
    """What is learned from rows of another file that are as those of a task's own data."""
    prepared = train.process_docs or not train.names_data
    other = {"data_files": file, "dataset_path": None, "dataset_name": None, "dataset_revision": None, "split": None}
    return train.model_copy(update={**other, "process_docs": prepared})


def _translated(library: SourceExamples, source: Source, cell: Cell, file: str) -> Examples:
    try:
        return library.with_data(cell, file).sample(cell, None)
    except TaskError as error:
        said = str(error).replace(f"tasks[{cell.task}].train.data_files", f"sources[{source.name}].data")
        raise TaskError(f"{source}: {said}") from error


def _switched(examples: Examples, switch: Switch, source: Source, count: Count) -> Examples:
    key = f"{source}: sources[{source.name}].switch.dictionary"
    words = _read(switch.dictionary, key)

    def mixed(text: str) -> str:
        return _text(text, words, switch, count)

    made = tuple(_example(one, switch, mixed) for one in examples)
    if not count.switched:
        raise TaskError(
            f"{key}: {switch.dictionary} changes no word at the rate {switch.rate:g}: it has {count.known:,} of the "
            f"{count.words:,} words of these texts: raise the rate, or take a dictionary of their language"
        )
    return made


def _example(example: Example, switch: Switch, mixed: Callable[[str], str]) -> Example:
    """An example with words switched in what is read; in what is learned where that is asked, or is all there is."""
    if example.format == "messages":
        said = json.loads(example.answer)
        for turn in said["messages"]:
            if isinstance(turn.get("content"), str) and (switch.answers or turn["role"] != "assistant"):
                turn["content"] = mixed(turn["content"])
        return replace(example, answer=json.dumps(said, ensure_ascii=False, sort_keys=True))
    whole = switch.answers or not example.prompt
    return replace(example, prompt=mixed(example.prompt), answer=mixed(example.answer) if whole else example.answer)


def _text(text: str, words: Dictionary, switch: Switch, count: Count) -> str:
    drawn, pieces = random.Random(f"switch:{switch.seed}:{text}"), []
    for is_word, piece in _pieces(text):
        others = words.get(piece.casefold()) if is_word else None
        count.words += is_word
        if others:
            count.known += 1
            chance, other = drawn.random(), drawn.choice(others)
            if chance < switch.rate:
                count.switched += 1
                piece = other[:1].upper() + other[1:] if piece[:1].isupper() else other
        pieces.append(piece)
    return "".join(pieces)


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """A text as words and what is between them; vowel signs of Indic scripts, which are marks, are of their word."""
    for is_word, piece in groupby(text, lambda one: unicodedata.category(one)[0] in "LMN"):
        yield is_word, "".join(piece)


@lru_cache(8)
def _read(file: str, key: str) -> Dictionary:
    """Read a dictionary: a word and a translation of it in each line, a tab or a space between. Raises TaskError."""
    if not Path(file).is_file():
        raise TaskError(f"{key}: no such file: {file} (working directory: {Path.cwd()})")
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise TaskError(f"{key}: {file} is no UTF-8 (byte {error.start:,}): save it as UTF-8") from error
    found: dict[str, dict[str, None]] = {}
    for number, line in enumerate(lines, 1):
        parts: Sequence[str] = [part.strip() for part in line.split("\t" if "\t" in line else None, 1)]
        if len(parts) == 2 and all(parts):
            found.setdefault(parts[0].casefold(), {})[parts[1]] = None
        elif line.strip():
            raise TaskError(f"{key}: line {number} of {file} is {line!r:.60}: write a word, a tab, its translation")
    if not found:
        raise TaskError(f"{key}: {file} has no words: fill it")
    return {word: tuple(others) for word, others in found.items()}
