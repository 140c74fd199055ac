"""The registry: every module's tables are in it, each by a name of its own, made or with the reason why not."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import polars as pl
import pytest

from analysis import statistics
from analysis.frames import NotComputable, Table
from analysis.page.sections import SECTIONS
from analysis.reading.study import Study
from analysis.tables import compare
from analysis.tables.registry import TABLES, make_all

NAMES = [table.name for table in TABLES]


def test_tables_of_every_module_are_joined() -> None:
    names = [info.name for info in pkgutil.walk_packages(statistics.__path__, "analysis.statistics.")]
    modules = [import_module(name) for name in names]
    stated = [table.name for module in modules for table in getattr(module, "TABLES", ())]
    assert sorted(NAMES) == sorted(["transfer", *stated])


def test_names_are_unique_and_figures_name_tables() -> None:
    names = [*NAMES, *(table.name for table in compare.TABLES)]
    assert len(set(names)) == len(names)
    assert {section.table for section in SECTIONS} <= set(NAMES)


def test_columns_are_those_that_are_stated(study: Study) -> None:
    made = make_all(TABLES, study)
    for table in made.values():
        if table.frame is not None:
            assert table.frame.columns == list(table.table.columns), table.table.name
    assert sum(table.frame is not None for table in made.values()) > len(TABLES) // 2


def test_a_table_that_cannot_be_made_says_why_and_the_others_are_made() -> None:
    def fails(height: int) -> pl.DataFrame:
        raise NotComputable(f"{height} rows are too few")

    bad = Table("bad", "Bad", "rows", {}, fails)
    good = Table("good", "Good", "rows", {"n": "rows"}, lambda height: pl.DataFrame({"n": [height]}))
    made = make_all((bad, good), 3)
    assert (made["bad"].frame, made["bad"].reason) == (None, "3 rows are too few")
    assert made["good"].frame is not None
    assert made["good"].frame["n"].item() == 3


def test_an_error_that_is_no_reason_is_raised() -> None:
    def breaks(_: int) -> pl.DataFrame:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make_all((Table("broken", "Broken", "rows", {}, breaks),), 0)
