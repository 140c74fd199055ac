"""The tables of a study, each made when it is first asked for.

`Made` ones are by name as the page has them; `Tables` gives their frames to people: those of several recipes together,
with the recipe first, as the report writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from analysis.frames import Table
from analysis.reading.study import Study
from analysis.statistics import recipes
from analysis.tables import registry
from analysis.tables.registry import Made, make
from study.errors import ConfigError


class Making(dict[str, Made]):
    """Tables of one recipe by name: a name that is not there yet is made."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self._study, self._tables = study, {table.name: table for table in registry.TABLES}

    def __missing__(self, name: str) -> Made:
        self[name] = make(self._tables[name], self._study)
        return self[name]


class Tables(Mapping[str, pl.DataFrame]):
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
            raise ConfigError("table", name, "the study has no such table", f"one of {', '.join(self.about)}")
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

    def __contains__(self, name: object) -> bool:
        return name in self.about

    def __iter__(self) -> Iterator[str]:
        return iter(self.about)

    def __len__(self) -> int:
        return len(self.about)
