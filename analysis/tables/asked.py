"""The tables of a study, each made when it is first asked for.

`Made` ones are by name as the page has them; `Tables` gives their frames to people: those of several recipes together,
with the recipe first, as the report writes them. Whether a study can have a table is known when it is made, so that to
list those it has makes them all, once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar, overload

import polars as pl

from analysis.frames import Table
from analysis.reading.study import Study
from analysis.statistics import recipes
from analysis.tables import registry
from analysis.tables.registry import Made, make
from study.errors import ConfigError
from study.options import closest_first

Value = TypeVar("Value")
Other = TypeVar("Other")


class Making(dict[str, Made]):
    """Tables of one recipe by name: a name that is not there yet is made."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self._study, self._tables = study, {table.name: table for table in registry.TABLES}

    def __missing__(self, name: str) -> Made:
        self[name] = make(self._tables[name], self._study)
        return self[name]


class Asked(Mapping[str, Value]):
    """Things by name, of which a study may lack some: these are not in it; asking for one raises ConfigError."""

    @abstractmethod
    def _names(self) -> Iterable[str]:
        """Every name, also of what the study lacks."""

    @abstractmethod
    def _has(self, name: str) -> bool:
        """Whether the study has what a name of these stands for."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._names() and self._has(name)

    def __iter__(self) -> Iterator[str]:
        return filter(self._has, self._names())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def get(self, name: str, /) -> Value | None: ...
    @overload
    def get(self, name: str, /, default: Value | Other) -> Value | Other: ...
    def get(self, name: str, /, default: object = None) -> object:
        """What is there; `default` where the study lacks it."""
        try:
            return self[name]
        except ConfigError:
            return default


class Tables(Asked[pl.DataFrame]):
    """Frames by the names of docs/report_columns.md; ConfigError for one that cannot be made, with the reason."""

    def __init__(self, study: Study) -> None:
        self.about: dict[str, Table[Study]] = {table.name: table for table in registry.tables_of(study)}
        across = study.across
        self.of: dict[str | None, Making] = (
            {name: Making(one) for name, one in across.studies.items()} if across else {None: Making(study)}
        )
        self._between = {table.name: make(table, study) for table in recipes.TABLES} if across else {}

    def made(self, name: str) -> Made:
        """The table, or the reason why there is none. ConfigError where no table has that name."""
        if name not in self.about:
            raise ConfigError("table", name, "the study has no such table", f"one of {closest_first(name, self.about)}")
        if name in self._between:
            return self._between[name]
        if None in self.of:
            return self.of[None][name]
        return registry.together({str(recipe): {name: made[name]} for recipe, made in self.of.items()})[name]

    def __getitem__(self, name: str) -> pl.DataFrame:
        found = self.made(name)
        if found.frame is None:
            raise ConfigError("table", name, f"it cannot be made: {found.reason}", "list(tables) names the others")
        return found.frame

    def _names(self) -> Iterable[str]:
        return self.about

    def _has(self, name: str) -> bool:
        if name in self._between:
            return self._between[name].frame is not None
        return any(made[name].frame is not None for made in self.of.values())
