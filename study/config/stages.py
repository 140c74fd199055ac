"""Sources with a name: stages, which train on from an adapter, and those whose data are changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Discriminator, Field, StrictBool, StrictStr, Tag, model_validator

from study.cells import Cell, Change, Source, Switch
from study.config.fields import Count, Frozen, Number, PositiveInt, Template
from study.errors import ConfigError

LANGUAGE = "{language}"
Cells = StrictStr | Annotated[tuple[StrictStr, ...], Field(min_length=1)]


class SwitchConfig(Frozen):
    """Words to replace by those of another language."""

    dictionary: StrictStr
    rate: Annotated[Number, Field(gt=0, le=1)]
    seed: Count = 0
    answers: StrictBool = False


class ForLanguages(Frozen):
    """The languages that `{language}` stands for in an entry, which is one for each."""

    language: Literal["all"] | Annotated[tuple[StrictStr, ...], Field(min_length=1)]


class StageConfig(Frozen):
    """A source with a name. It begins with the adapter of another one: of a cell, of cells that are trained together,
    of a stage, or with one of `adapters`; or its data are changed; or both.
    """

    name: Template
    over: ForLanguages | None = Field(default=None, alias="for")
    cells: Cells
    start_from: Cells | None = None
    data: StrictStr | None = None  # a file of the rows of its one cell, translated, say
    switch: SwitchConfig | None = None
    shots: dict[StrictStr, PositiveInt] = Field(default={})  # cells that are learned from beside: so many examples

    @model_validator(mode="after")
    def _is_another(self) -> StageConfig:
        if self.start_from is None and self.data is None and self.switch is None and not self.shots:
            raise ValueError("says nothing beside its cells: set start_from, shots, switch or data, or list the cells")
        if (self.over is not None) != (LANGUAGE in self.name):
            raise ValueError(
                "`for` and a name with {language} in it go together: each language has a source of its own"
            )
        return self

    def each(self, key: str, languages: Sequence[str]) -> Iterator[StageConfig]:
        """The entries that it comes to: itself, or one for each language. Raises ConfigError."""
        if self.over is None:
            yield self
            return
        asked = languages if self.over.language == "all" else self.over.language
        told = self.model_dump(exclude={"over"}, exclude_unset=True)
        for language in dict.fromkeys(asked):
            if language not in languages:
                raise ConfigError(f"{key}.for.language", language, "is not among `languages`", "add it there")
            yield StageConfig.model_validate(_filled(told, language))


def _filled(value: object, language: str) -> object:
    """A value with a language in the place of its mark, keys too."""
    if isinstance(value, str):
        return value.replace(LANGUAGE, language)
    if isinstance(value, dict):
        return {_filled(key, language): _filled(inner, language) for key, inner in value.items()}
    return tuple(_filled(one, language) for one in value) if isinstance(value, tuple) else value


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


def _each(entries: Sequence[Entry], languages: Sequence[str]) -> Iterator[tuple[str, Entry]]:
    """The entries, those with `for` once for each language, with their keys."""
    for i, entry in enumerate(entries):
        key = f"sources[{i}]"
        yield from ((key, one) for one in (entry.each(key, languages) if isinstance(entry, StageConfig) else [entry]))


class Listed:
    """The entries of `sources` as sources. `cell` reads one, `given` are the names of `adapters`."""

    def __init__(
        self,
        entries: Sequence[Entry],
        cell: Callable[[str, str], Cell],
        given: Collection[str],
        languages: Sequence[str],
    ) -> None:
        self._entries = [*_each(entries, languages)]
        self._cell, self._given = cell, given
        stages = [(key, one) for key, one in self._entries if isinstance(one, StageConfig)]
        self._keys = {one.name: key for key, one in stages}
        self._stages = {one.name: one for _, one in stages}

    def sources(self) -> list[Source]:
        """In the config's order. Raises ConfigError."""
        found = []
        for key, entry in self._entries:
            if isinstance(entry, StageConfig):
                self._check_name(entry.name, key)
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
        if entry.data is not None and len(cells) > 1:
            raise ConfigError(f"{key}.data", entry.data, "is of one cell, and these are several", "list one in cells")
        change = self._change(entry, key)
        if change is not None:
            cells = (*cells, *(cell for cell, _ in change.shots))
        start = None if entry.start_from is None else self._start(entry.start_from, key, (*within, name))
        return Source(cells, name=name, start=start, change=change)

    def _change(self, entry: StageConfig, key: str) -> Change | None:
        """What is other than its cells' own data. Raises ConfigError."""
        switch = None if entry.switch is None else Switch(**entry.switch.model_dump())
        shots = tuple((self._cell(f"{key}.shots", cell), count) for cell, count in entry.shots.items())
        return Change(entry.data, switch, shots) if entry.data is not None or switch or shots else None

    def _start(self, start: str | tuple[str, ...], key: str, within: tuple[str, ...]) -> Source | str:
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
