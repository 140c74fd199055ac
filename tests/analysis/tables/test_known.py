"""The figures published with the reference study's table."""

from __future__ import annotations

import os
from dataclasses import replace

import polars as pl
import pytest

from analysis.reading import published
from analysis.reading.study import Study
from analysis.statistics.regimes import regime_summary
from analysis.tables import known
from tests.support.transfers import grid


def large(seeds: int = 3) -> pl.DataFrame:
    """A table of the published size."""
    return pl.concat([grid()] * 41)[: known.PUBLISHED_ROWS].with_columns(pl.lit(seeds).alias("n_seeds"))


def test_known_figures_are_checked_on_a_table_of_the_published_size() -> None:
    assert known.known_values(grid()) == []
    frame = large()
    assert frame.height == known.PUBLISHED_ROWS
    assert "not its figures" in known.known_values(frame)[0]


def test_a_figure_that_is_off_by_more_than_a_billionth_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = large()
    mean = regime_summary(frame).row(by_predicate=pl.col("regime") == "MT-CL", named=True)["mean"]
    said = {}
    for off in (0.0, 5e-10, 2e-9):
        monkeypatch.setattr(known, "KNOWN", {"MT-CL": {"mean": mean + off}})
        said[off] = known.known_values(frame)
    assert (
        said[0.0]
        == said[5e-10]
        == ["All 1 known figures of the published grid are reproduced, each row is of 3 seeds."]
    )
    assert "MT-CL mean is" in said[2e-9][0]


def test_a_published_table_that_lacks_whole_rows_is_said_to() -> None:
    names = dict(zip("abcd", sorted(known.TASKS), strict=True))
    frame = large().with_columns(pl.col("source_task", "target_task").replace(names))
    fourth = frame[0].with_columns(pl.lit(names["d"]).alias(name) for name in ("source_task", "target_task"))
    whole = pl.concat([fourth, frame[1:]])
    assert "not its figures" in known.known_values(whole)[0]
    assert known.known_values(whole[:-1]) == [
        "This table has 17,423 rows, the published grid has 17,424: its known figures cannot be checked."
    ]


def test_a_row_of_other_seeds_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "KNOWN", {})
    assert "All 0" in known.known_values(large())[0]
    assert "17,424 rows are not of 3 seeds" in known.known_values(large(2))[0]


def test_what_does_not_compare_is_said_beside_the_published_grid_alone() -> None:
    published_grid = Study("published", "t.csv", large())
    mine = Study("mine", "store", grid(), pl.DataFrame({"adapter_id": ["a"]}))
    assert published_grid.published
    assert not mine.published
    assert known.not_comparable((mine, published_grid)) == known.NOT_COMPARABLE
    for pair in ((mine, mine), (published_grid, published_grid), (mine, replace(published_grid, transfer=grid()))):
        assert known.not_comparable(pair) is None


@pytest.mark.skipif("PUBLISHED_CSV" not in os.environ, reason="set PUBLISHED_CSV to the study's transfer_results.csv")
def test_published_table_gives_the_published_figures() -> None:
    notes = known.known_values(published.read_reference(os.environ["PUBLISHED_CSV"]))
    assert notes == ["All 21 known figures of the published grid are reproduced, each row is of 3 seeds."]
