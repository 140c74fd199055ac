"""A study to ask questions of from Python: `analysis.open("runs/mine")`.

Idea: everything is read when it is first asked for, and kept: opening costs one look at the store. What is read is
what `python -m analysis.report` reads, from folders and buckets alike. A store that has grown is opened anew to see it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike, fspath

import polars as pl

from analysis.advice.advice import Advice
from analysis.advice.question import Question, answer
from analysis.page.card import card, said
from analysis.page.html import text
from analysis.page.plots import Plots
from analysis.reading.rows import COLUMNS, Rows
from analysis.reading.study import Study, load
from analysis.tables.asked import Tables
from analysis.tables.known import with_known_values
from study.errors import ConfigError
from study.store.layout import GRID_FILE, STUDY_FILE
from study.store.readable import no_study, readable
from study.store.records import StudyFile
from study.store.store import Store
from study.store.study_file import read_study

PUBLISHED = (".csv", ".csv.gz")


@dataclass(frozen=True)
class Opened:
    """A study's rows, tables, figures and advice. What cannot be had raises ConfigError: key, value, reason, fix."""

    origin: str  # URI of a store, or a published CSV
    _store: Store | None = field(default=None, repr=False)

    @cached_property
    def scores(self) -> pl.DataFrame:
        """Every metric of every score of the current config, a row each; `columns("scores")` says what columns mean."""
        return self._rows.scores

    @cached_property
    def items(self) -> pl.LazyFrame:
        """Every answer to every item, lazily: `.filter(…).select(…).collect()` reads those columns, part by part."""
        return self._rows.items

    @cached_property
    def adapters(self) -> pl.DataFrame:
        """Every adapter that is there: what it was trained on and how, its losses, where it lies."""
        return self._rows.adapters

    @property
    def transfer(self) -> pl.DataFrame:
        """The transfer table: Δ of every (model, source, target), seeds averaged; of several recipes, each."""
        return self.tables["transfer"]

    @cached_property
    def tables(self) -> Tables:
        """The tables of the report by name, each made when it is first asked for: `tables["harm_breakdown"]`."""
        return Tables(self.study)

    @cached_property
    def plots(self) -> Plots:
        """The figures of the report by name, as Altair charts: `plots["matrix"]`; `plots.how(name)` how to read it."""
        return Plots(self.study, self.tables)

    def columns(self, name: str) -> pl.DataFrame:
        """`column, type, meaning` of scores, items, adapters or a table."""
        about = COLUMNS.get(name)
        if about is None:
            types, about = self.tables[name].schema, self.tables.made(name).table.columns
        elif name == "items":
            types = self.items.collect_schema()
        else:
            types = (self.scores if name == "scores" else self.adapters).schema
        told = [(column, str(types[column]), about[column]) for column in types.names()]
        return pl.DataFrame(told, schema=dict.fromkeys(("column", "type", "meaning"), pl.String), orient="row")

    def advise(
        self,
        target: str | None = None,
        source: str | None = None,
        budget: int | None = None,
        max_harm: float | None = None,
        model: str | None = None,
        recipe: str | None = None,
    ) -> pl.DataFrame:
        """What `python -m analysis.advise` prints, as a frame; one of target, source and budget is the question."""
        return self.advice(Question(target, source, budget, max_harm, model, recipe)).table

    def advice(self, question: Question) -> Advice:
        """The same with the sentence that says how far to trust it, and what else there is to try."""
        return answer(lambda: self.study, question)

    @cached_property
    def study(self) -> Study:
        """All that the report reads, as it reads it."""
        return with_known_values(load(self.origin))

    def of_recipe(self, recipe: str | None) -> Study:
        """The same of one of several recipes."""
        return self.study.across.studies[recipe] if recipe and self.study.across else self.study

    @cached_property
    def info(self) -> StudyFile:
        """What study.yaml says: the resolved config, the models, versions."""
        with readable("STORE", self.origin):
            return (read_study(self._store) if self._store else None) or StudyFile({})

    @property
    def _rows(self) -> Rows:
        if self._store is None:
            fix = "open a store, or use transfer, tables, plots and advise"
            raise ConfigError(
                "STORE", self.origin, "a published table has no scores, items or adapters of its own", fix
            )
        return self._of_store

    @cached_property
    def _of_store(self) -> Rows:
        assert self._store is not None
        return Rows(self._store)

    def __str__(self) -> str:
        """What `print` shows: the same as in a notebook, in lines. The store is read for it."""
        try:
            return "\n".join([f"{self.study.name} ({self.origin})", *said(self.study, self.tables)])
        except ConfigError as error:
            return str(error)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        try:
            return card(self.study, self.tables)
        except ConfigError as error:
            return f"<div><code>{text(self.origin)}</code><p>{text(error)}</p></div>"


def opened(name: str | PathLike[str]) -> Opened:
    """Open a store, or a published table where the name is that of a CSV file. ConfigError where there is none."""
    if not isinstance(name, str | PathLike) or not isinstance(origin := fspath(name), str):
        raise ConfigError("STORE", name, "that is no name of a place", 'give a folder or a bucket: "runs/mine"')
    if origin.endswith(PUBLISHED):
        study = Opened(origin)
        _ = study.study
        return study
    store = Store(origin)
    with readable("STORE", origin):
        store.check_reachable()
        if not store.exists(STUDY_FILE) and not store.exists(GRID_FILE):
            raise no_study("STORE", origin)
    return Opened(store.uri, store)
