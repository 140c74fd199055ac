"""Whose held-out items choose the lambda of a composition: all that its values are scored on beside the targets.

Protocols differ in that: items of the parts' own cells (`source`), of the same task in all languages of `for` but the
target's (`other_languages`), or of the target itself (`target`, which is few-shot). In another language it is that
language's own expansion that tells: what German text adds to German says how much French text may add to French. A
combination that is for no language tells by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from study.cells import Cell

Row = Mapping[str, object]  # of study.store.schema.COMPOSITIONS
Where = tuple[str, Cell]  # the name of a composition, and a cell with items held out


@dataclass(frozen=True)
class Free:
    """A composition of which lambda is to be chosen."""

    name: str
    protocol: str
    language: str | None
    strengths: tuple[float, ...]
    cells: tuple[Cell, ...]  # of its parts
    named: str | None = None  # what its name comes from; None where an older release did not say

    @property
    def family(self) -> str:
        """What its expansions for other languages share: its name, and its task where it is for one."""
        return self.named or self.name.removesuffix(f"{self.language}]")


@dataclass(frozen=True)
class Tried:
    """An adapter that is a composition at one lambda of several."""

    adapter_id: str
    model: str
    of: Free


@dataclass(frozen=True)
class Choices:
    """What choosing comes to: by name the cells whose held-out items are `read`, and the targets `left` without it."""

    read: dict[str, set[Cell]]
    left: dict[str, list[Cell]]


def places(one: Free, target: Cell, free: Sequence[Free], told: Collection[Where]) -> list[Where]:
    """Whose items of which cells choose the lambda of a composition for a target; `told` is where there are any."""
    if one.protocol == "source":
        return [(one.name, cell) for cell in one.cells if (one.name, cell) in told]
    if one.protocol == "target":
        return [(one.name, target)]
    if one.language is None:
        mine = [cell for name, cell in told if name == one.name]
        return [(one.name, cell) for cell in mine if cell.task == target.task and cell.language != target.language]
    siblings = [other for other in free if other.family == one.family and other.language not in (None, target.language)]
    return [(other.name, Cell(target.task, str(other.language))) for other in siblings]


def choosing(free: Sequence[Free], targets: Collection[Cell], apart: Collection[Cell]) -> Choices:
    """What is read to choose a lambda of each for these targets, where the cells `apart` have items held out."""
    found = Choices({one.name: set() for one in free}, {one.name: [] for one in free})
    families: dict[str, list[Free]] = {}
    for one in free:
        families.setdefault(one.family, []).append(one)
    for alike in families.values():
        told = {(one.name, cell) for one in alike for cell in apart}
        for target in targets:
            for one in alike:
                where = told.intersection(places(one, target, alike, told))
                for name, cell in where:
                    found.read[name].add(cell)
                if not where:
                    found.left[one.name].append(target)
    return found


def tried_on(made: Iterable[Tried], targets: Sequence[Cell]) -> dict[str, list[int]]:
    """By adapter_id which of the targets that have items held out each is scored on, of any models.

    Every base is scored on all of these, any other that is not here on none. One adapter may have two names.
    """
    measured = [cell for cell in targets if not cell.held_out]
    apart = {i: replace(cell, held_out=False) for i, cell in enumerate(targets) if cell.held_out}
    of_model: dict[str, list[Tried]] = {}
    for one in made:
        of_model.setdefault(one.model, []).append(one)
    found: dict[str, set[Cell]] = {}
    for some in of_model.values():
        read = choosing(list(dict.fromkeys(one.of for one in some)), measured, apart.values()).read
        for one in some:
            found.setdefault(one.adapter_id, set()).update(read[one.of.name])
    return {name: [i for i, cell in apart.items() if cell in cells] for name, cells in found.items()}


def tried_of(rows: Iterable[Row]) -> list[Tried]:
    """What these rows, of any models, say of compositions of which lambda is to be chosen."""
    of_model: dict[str, list[Row]] = {}
    for row in rows:
        if row["protocol"] is not None:
            of_model.setdefault(str(row["model"]), []).append(row)
    found = []
    for model, some in of_model.items():
        free = {one.name: one for one in free_of(some)}
        found += [Tried(str(row["adapter_id"]), model, free[str(row["name"])]) for row in some]
    return found


def free_of(rows: Iterable[Row]) -> list[Free]:
    """The compositions of one model that these rows are of, each of which says a protocol."""
    named: dict[str, list[Row]] = {}
    for row in rows:
        named.setdefault(str(row["name"]), []).append(row)
    return [_free(name, some) for name, some in named.items()]


def _free(name: str, rows: Sequence[Row]) -> Free:
    language, terms = rows[0]["language"], [term for row in rows for term in _terms(row)]
    strengths = {row["strength"] for row in rows}
    numbers = tuple(sorted(one for one in strengths if isinstance(one, float)))
    family = rows[0].get("family")
    return Free(
        name,
        str(rows[0]["protocol"]),
        None if language is None else str(language),
        numbers,
        cells_of(terms),
        None if family is None else str(family),
    )


def _terms(row: Row) -> list[Row]:
    terms = row["terms"]
    assert isinstance(terms, list)
    return terms


def cells_of(terms: Sequence[Row]) -> tuple[Cell, ...]:
    """The cells that the parts of a composition were trained on, as far as a store's rows name them."""
    plain = (str(term["source"]).partition("@")[0] for term in terms)  # of a stage without its name
    texts = [text for source in plain for text in source.split("+") if "/" in text]
    return tuple(dict.fromkeys(Cell.parse(text) for text in texts))
