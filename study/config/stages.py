"""Stages: sources that train on from the adapter of another source, or from one that exists already."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Annotated

from pydantic import Discriminator, Field, StrictStr, Tag

from study.cells import Cell, Source
from study.config.fields import Frozen, Name
from study.errors import ConfigError

Cells = StrictStr | Annotated[tuple[StrictStr, ...], Field(min_length=1)]


class StageConfig(Frozen):
    """A source with a name, which begins with the adapter of another one: of a cell, of cells that are trained
    together, of a stage, or with one of `adapters`.
    """

    name: Name
    cells: Cells
    start_from: Cells


def _kind(value: object) -> str:
    """Which of the three an entry is. Brackets: no key of an error."""
    if isinstance(value, dict | StageConfig):
        return "sources[stage]"
    return "sources[cells]" if isinstance(value, list | tuple) else "sources[cell]"


Entry = Annotated[
    Annotated[StrictStr, Tag("sources[cell]")]
    | Annotated[tuple[StrictStr, ...], Tag("sources[cells]")]
    | Annotated[StageConfig, Tag("sources[stage]")],
    Discriminator(_kind),
]


class Listed:
    """The entries of `sources` as sources. `cell` reads one, `given` are the names of `adapters`."""

    def __init__(self, entries: Sequence[Entry], cell: Callable[[str, str], Cell], given: Collection[str]) -> None:
        self._entries, self._cell, self._given = entries, cell, given
        self._keys = {one.name: f"sources[{i}]" for i, one in enumerate(entries) if isinstance(one, StageConfig)}
        self._stages = {one.name: one for one in entries if isinstance(one, StageConfig)}

    def sources(self) -> list[Source]:
        """In the config's order. Raises ConfigError."""
        found = []
        for i, entry in enumerate(self._entries):
            if isinstance(entry, StageConfig):
                self._check_name(entry.name, f"sources[{i}]")
                found.append(self._stage(entry.name, ()))
            else:
                found.append(self._plain("sources", entry))
        return found

    def named(self, name: str) -> Source | None:
        """The stage of a name; None where there is none."""
        return self._stage(name, ()) if name in self._stages else None

    def _check_name(self, name: str, key: str) -> None:
        if self._keys[name] != key:
            raise ConfigError(f"{key}.name", name, f"is the name of {self._keys[name]} too", "give each its own")
        if name in self._given:
            raise ConfigError(f"{key}.name", name, "is the name of one of `adapters` too", "give each its own")
        if name.isdecimal():
            raise ConfigError(f"{key}.name", name, "reads like the size of a sample", "put a letter in it")

    def _stage(self, name: str, within: tuple[str, ...]) -> Source:
        entry, key = self._stages[name], self._keys[name]
        if name in within:
            circle = " from ".join([*within[within.index(name) :], name])
            fix = "let one of them begin with a source that has no start"
            raise ConfigError(f"{key}.start_from", entry.start_from, f"is a circle: {circle}", fix)
        cells = self._plain(f"{key}.cells", entry.cells).cells
        return Source(cells, name=name, start=self._start(entry, key, (*within, name)))

    def _start(self, entry: StageConfig, key: str, within: tuple[str, ...]) -> Source | str:
        start = entry.start_from
        if not isinstance(start, str) or "/" in start:
            return self._plain(f"{key}.start_from", start)
        if start in self._stages:
            return self._stage(start, within)
        if start in self._given:
            return start
        names = ", ".join([*self._stages, *self._given])
        fix = f"write task/language, a list of these, or one of [{names}]"
        raise ConfigError(f"{key}.start_from", start, "is no cell, no stage and no adapter of this study", fix)

    def _plain(self, key: str, texts: str | Sequence[str]) -> Source:
        return Source.of([self._cell(key, text) for text in ([texts] if isinstance(texts, str) else texts)])
