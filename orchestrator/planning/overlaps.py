"""What is learned that is also scored: rows by their content, and raw text that holds what an item says.

Raw text is no row of a task, so it has no item's hash. An item's fields are looked for in it as they stand, but for
case and white space; short ones say too little. Texts of two languages that are translations of one another, row by
row, are told too: then what a module learns of its language, another one learns in its own words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from orchestrator.planning.survey import Survey
from study.cells import Cell, Source
from study.data.turns import said

LEAST = 30  # characters of a field that is looked for
ROWS, ALIKE = (
    20,
    0.7,
)  # of two cells of raw text: rows from which, and correlation of lengths from which they are parallel
# where a field may begin: at a word, or at any character of scripts that are written without gaps
_START = re.compile(r"(?:(?<= )|^)\S|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u9fff]")
_Fields = dict[str, set[tuple[str, Cell, int]]]  # by its first characters: a field, its target, its item


def rows_among_items(found: Survey) -> Iterator[str]:
    """Rows to learn that are among the items of a target, by their content: how many of what, where."""
    where: dict[str, list[str]] = {}
    for cell, hashes in found.test_hashes.items():
        for name in hashes:
            where.setdefault(name, []).append(str(cell))
    pairs: dict[tuple[str, str], int] = {}
    for source, examples in found.examples.items():
        if source.size is not None:  # a part of a source, whose rows are told
            continue
        for name in {example.doc_hash for example in examples}:
            for target in where.get(name, ()):
                pairs[str(source), target] = pairs.get((str(source), target), 0) + 1
    yield from (f"{count:,} of {source} in {target}" for (source, target), count in pairs.items())


def texts_among_items(found: Survey) -> Sequence[str]:
    """A sentence for each cell of raw text and each target of which it holds items; and for pairs of parallel ones.

    Looked for once in a survey: there may be much text.
    """
    if found.held is None:
        found.held = tuple(_told(found))
    return found.held


def _told(found: Survey) -> Iterator[str]:
    texts = {cell: some for cell, some in _texts(found).items() if some}
    fields = _fields(found) if texts else {}
    for cell, some in texts.items():
        held: dict[Cell, set[int]] = {}
        for text in some:
            for target, item in _held(text, fields):
                held.setdefault(target, set()).add(item)
        for target, items in held.items():
            others = [str(one) for one in found.targets if _is_translated(found, target, one)]
            also = f", and so of their translations in {', '.join(others)}" if others else ""
            yield f"raw text of {cell} holds {len(items):,} of {found.target_items[target]:,} items of {target}{also}"
    for task in dict.fromkeys(cell.task for cell in texts):
        own = {cell: some for cell, some in texts.items() if cell.task == task}
        pairs = [pair for pair in combinations(own, 2) if _is_parallel(*(own[cell] for cell in pair))]
        if alike := [str(cell) for cell in own if any(cell in pair for pair in pairs)]:
            yield f"raw texts are translations of one another, by their lengths row by row: {', '.join(alike)}"


def _is_translated(found: Survey, one: Cell, other: Cell) -> bool:
    """Whether two targets are one task in two languages, item by item."""
    if one.task != other.task or one.language == other.language or other.held_out:
        return False
    return _is_parallel(*([asked.prompt for asked in found.target_texts[cell]] for cell in (one, other)))


def _texts(found: Survey) -> dict[Cell, list[str]]:
    """The rows of each cell of raw text that a source is learned from."""
    told: dict[Cell, list[str]] = {}
    for source in found.examples:
        for cell in source.cells if source.size is None else ():
            if cell not in told and (rows := found.examples.get(Source.of([cell]))):
                told[cell] = [said(one) for one in rows if one.format == "text"]
    return told


def _fields(found: Survey) -> _Fields:
    """What the items of all targets say, field by field, but those of raw text: these are held out of it by row."""
    fields: _Fields = {}
    for target in found.targets:
        if target.held_out or target in found.library.texts:
            continue
        for one in found.library.load(target).instances:
            for text in _strings(list(one.doc.values())):
                if len(text := _plain(text)) >= LEAST:
                    fields.setdefault(text[:LEAST], set()).add((text, target, one.doc_id))
    return fields


def _strings(values: Sequence[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from _strings(value)


def _held(text: str, fields: _Fields) -> Iterator[tuple[Cell, int]]:
    """The items, by target and number, of which a text holds a field."""
    whole = _plain(text)
    for start in (one.start() for one in _START.finditer(whole)):
        for field, target, item in fields.get(whole[start : start + LEAST], ()):
            if whole.startswith(field, start):
                yield target, item


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _is_parallel(some: Sequence[str], more: Sequence[str]) -> bool:
    """Whether two lists of texts may be one in two languages: as long as one another, and so is each row."""
    if len(some) != len(more) or len(some) < ROWS:
        return False
    one, other = (np.array([math.log(1 + len(text)) for text in texts]) for texts in (some, more))
    return bool(one.std() and other.std() and np.corrcoef(one, other)[0, 1] >= ALIKE)
