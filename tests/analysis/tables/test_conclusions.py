"""Conclusions that two studies share."""

from __future__ import annotations

import polars as pl

from analysis.tables import conclusions
from tests.support.transfers import grid, study_of


def test_conclusions_that_do_not_hold_are_named() -> None:
    here = grid(1)
    table = conclusions.compare_conclusions((study_of(here), study_of(here.with_columns(-pl.col("delta")))))
    first = table.row(0, named=True)
    assert first["conclusion"] == "transfer raises scores on average"
    assert (first["here"], first["there"], first["holds"]) == ("yes", "no", False)
