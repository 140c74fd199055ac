"""What is learned that is also scored: rows by their content, and raw text that holds what an item says.

Raw text is no row of a task, so it has no item's hash. An item's fields are looked for in it as they stand, but for
case and white space; short ones say too little. Texts of two languages that are translations of one another are told
too: then what a module learns of its language, another one learns in its own words. Row by row their lengths show
it; in another order only the numbers that rows name, which are the same in any language. Where texts name few, and are
not in one order, nothing here can tell.

Nor has a completion or a conversation an item's hash. There what tells is a field that one item of a target alone has,
or a prompt that is all of such a field or of what that item asks, however short.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations

import numpy as np

from orchestrator.planning.survey import Survey
from study.cells import Cell, Source
from study.data.example import Example
from study.data.turns import asking, said

LEAST = 30  # characters of a field that is looked for
ROWS = 20  # of two lists of texts that are set beside one another, at least
ALIKE = 0.7  # correlation of lengths, and share of texts with the same numbers, from which they are translations
ASKING = ("prompt_completion", "messages")  # formats of rows that ask something
DIGITS = 8  # of the numbers in a text that tell which one it is, two at least
_NUMBER = re.compile(r"\d+(?:[.,'\u00a0\u202f ]\d{3}(?!\d)){0,8}")  # no more: a table's cells are no number
# where a field may begin: at a word, or at any character of scripts that are written without gaps
_START = re.compile(r"(?:(?<= )|^)\S|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u9fff]")
_Numbers = frozenset[str]
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
    named = {cell: {name for text in some if (name := _numbers(text))} for cell, some in texts.items()}
    asked = {target: _numbers_asked(found, target) for target in found.targets} if any(named.values()) else {}
    for cell, some in texts.items():
        held: dict[Cell, set[int]] = {}
        for text in some:
            for target, item in _held(text, fields):
                held.setdefault(target, set()).add(item)
        for target, items in held.items():
            others = [str(one) for one in found.targets if _is_translated(found, target, one)]
            also = f", and so of their translations in {', '.join(others)}" if others else ""
            yield f"raw text of {cell} holds {len(items):,} of {found.target_items[target]:,} items of {target}{also}"
        for target in found.targets if named[cell] else ():
            same, count = _told_by_numbers(asked[target], named[cell])
            if target not in held and count >= ROWS and same >= ALIKE * count:
                numbers = f"{same:,} of {count:,} that name any have the numbers of one of its rows"
                yield f"raw text of {cell} holds items of {target} in other words, or their translations: {numbers}"
    lengths = {cell: _lengths(some) for cell, some in texts.items()}
    for task in dict.fromkeys(cell.task for cell in texts):
        pairs = list(combinations([cell for cell in texts if cell.task == task], 2))
        parallel = {pair for pair in pairs if _is_parallel(*(lengths[cell] for cell in pair))}
        shuffled = {pair for pair in pairs if pair not in parallel and _is_shuffled(*(named[cell] for cell in pair))}
        for alike, how in ((parallel, "their lengths row by row"), (shuffled, "the numbers in their rows")):
            if own := {cell for pair in alike for cell in pair}:
                which = ", ".join(str(cell) for cell in texts if cell in own)
                yield f"raw texts are translations of one another, by {how}: {which}"
    yield from _told_by_rows(found)


def _told_by_rows(found: Survey) -> Iterator[str]:
    """A sentence for each cell of completions or conversations and each target of whose items some are among them."""
    learned = {cell: rows for cell, rows in _learned(found).items() if rows and rows[0].format in ASKING}
    fields, asked = (_once(_fields(found)), _asked(found)) if learned else ({}, {})
    for cell, rows in learned.items():
        told: dict[Cell, list[set[int]]] = {}
        for row in rows:
            items = {*_held(said(row), fields), *(one for asks in asking(row) for one in asked.get(_plain(asks), ()))}
            for target in dict.fromkeys(target for target, _ in items):
                told.setdefault(target, []).append({item for other, item in items if other == target})
        for target, each in told.items():
            count = f"{len(set.union(*each)):,} of {found.target_items[target]:,} items of {target}"
            yield f"{len(each):,} of {len(rows):,} rows to learn of {cell} say what is asked in {count}"


def _is_translated(found: Survey, one: Cell, other: Cell) -> bool:
    """Whether two targets are one task in two languages, item by item."""
    if one.task != other.task or one.language == other.language or other.held_out:
        return False
    return _is_parallel(*(_lengths([asked.prompt for asked in found.target_texts[cell]]) for cell in (one, other)))


def _texts(found: Survey) -> dict[Cell, list[str]]:
    """The rows of each cell of raw text that a source is learned from."""
    return {cell: [said(one) for one in rows if one.format == "text"] for cell, rows in _learned(found).items()}


def _learned(found: Survey) -> dict[Cell, tuple[Example, ...]]:
    """The rows of each cell that a source is learned from."""
    told: dict[Cell, tuple[Example, ...]] = {}
    for source in found.examples:
        for cell in source.cells if source.size is None else ():
            if cell not in told and (rows := found.examples.get(Source.of([cell]))):
                told[cell] = rows
    return told


def _asked(found: Survey) -> dict[str, set[tuple[Cell, int]]]:
    """The items by all that one of them alone says: a field, or what stands before its options."""
    asked: dict[str, set[tuple[Cell, int]]] = {}
    for target in found.targets:
        for item, text in _said(found, target):
            asked.setdefault(_plain(text), set()).add((target, item))
        if not target.held_out and target not in found.library.texts:
            for one in found.library.load(target).instances:
                asked.setdefault(_plain(str(one.args[0])), set()).add((target, one.doc_id))
    return {text: alone for text, items in asked.items() if text and (alone := _alone(items))}


def _once(fields: _Fields) -> _Fields:
    """Of these fields those that one item of a target alone has."""
    items: dict[str, set[tuple[Cell, int]]] = {}
    for text, target, item in (one for some in fields.values() for one in some):
        items.setdefault(text, set()).add((target, item))
    alone = {text: _alone(some) for text, some in items.items()}
    return {start: {one for one in some if one[1:] in alone[one[0]]} for start, some in fields.items()}


def _alone(items: set[tuple[Cell, int]]) -> set[tuple[Cell, int]]:
    """Those that are the only one of their target."""
    count = Counter(target for target, _ in items)
    return {one for one in items if count[one[0]] == 1}


def _fields(found: Survey) -> _Fields:
    """What the items of all targets say, field by field."""
    fields: _Fields = {}
    for target in found.targets:
        for item, text in _said(found, target):
            if len(text := _plain(text)) >= LEAST:
                fields.setdefault(text[:LEAST], set()).add((text, target, item))
    return fields


def _said(found: Survey, target: Cell) -> Iterator[tuple[int, str]]:
    """What the items of a target say, field by field; of raw text nothing: its items are held out of it by row."""
    if not target.held_out and target not in found.library.texts:
        for one in found.library.load(target).instances:
            yield from ((one.doc_id, text) for text in _strings(list(one.doc.values())))


def _numbers_asked(found: Survey, target: Cell) -> list[tuple[int, _Numbers]]:
    """The numbers in fields of a target's items, of those that name enough."""
    return [(item, name) for item, text in _said(found, target) if (name := _numbers(text))]


def _told_by_numbers(asked: Sequence[tuple[int, _Numbers]], known: Collection[_Numbers]) -> tuple[int, int]:
    """Of how many items a field has all the numbers of one that is known, of how many that have numbers."""
    told: dict[int, bool] = {}
    for item, name in asked:
        told[item] = told.get(item, False) or name in known
    return sum(told.values()), len(told)


def _numbers(text: str) -> _Numbers:
    """The numbers in a text where they tell it from others, whatever digits they are written with; else none."""
    found = {_digits(one) for one in _NUMBER.findall(text)}
    return frozenset(found) if len(found) > 1 and sum(map(len, found)) >= DIGITS else frozenset()


def _digits(number: str) -> str:
    """A number's digits as ASCII has them, without zeros before them: some are more than Python makes an int of."""
    return "".join(str(unicodedata.decimal(one)) for one in number if one.isdecimal()).lstrip("0") or "0"


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


def _lengths(texts: Sequence[str]) -> np.ndarray:
    return np.array([math.log(1 + len(text)) for text in texts])


def _is_parallel(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether texts of these lengths may be one in two languages: as many as one another, each row as long."""
    if len(one) != len(other) or len(one) < ROWS:
        return False
    return bool(one.std() and other.std() and np.corrcoef(one, other)[0, 1] >= ALIKE)


def _is_shuffled(one: set[_Numbers], other: set[_Numbers]) -> bool:
    """Whether most of the texts that name numbers name those of one in the other list, which hardly any other does."""
    fewer = min(len(one), len(other))
    return fewer >= ROWS and len(one & other) >= ALIKE * fewer
