"""The figures published with the reference study's table."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from analysis.frames import KEYS, TARGET
from analysis.reading import published
from analysis.reading.study import Study
from analysis.reading.transfer import ERRORS, MEASURES, STATISTICS, with_regime
from analysis.statistics.regimes import regime_summary
from analysis.tables import known
from tests.support.transfers import grid

LANGUAGES = ("ar", "bn", "de", "en", "es", "fr", "hi", "id", "it", "pt", "zh")


@cache
def large() -> pl.DataFrame:
    """A table of the published size: nine models, each of 44 sources on each of 44 targets, over three seeds."""
    cells = [(task, language) for task in sorted(known.TASKS) for language in LANGUAGES]
    rows = [(f"m{m}", *source, *target) for m in range(known.MODELS) for source in cells for target in cells]
    frame = with_regime(pl.DataFrame(rows, schema=KEYS, orient="row"))
    made, drawn = [pl.lit(known.SEEDS).alias("n_seeds")], np.random.default_rng(0)
    for kind in ("score", "score_norm"):
        base = pl.struct("model", *TARGET, pl.lit(kind).alias("kind")).hash(1) % 400 / 400
        made += [base.alias(f"{kind}_base_mean"), (base / 9).alias(f"{kind}_base_std")]
        made += [pl.Series(f"{kind}_mean", drawn.random(len(rows)))]
        made += [pl.Series(f"{part}{kind}_std", drawn.random(len(rows))) for part in ("", "delta_")]
    frame = frame.with_columns(made)
    for kind in ("score", "score_norm"):
        delta = 100 * (pl.col(f"{kind}_mean") - pl.col(f"{kind}_base_mean"))
        frame = frame.with_columns(delta.alias(f"delta_{kind}_mean"))
    alike = [name for name in frame.columns if "score_norm" in name]
    plain = pl.col("target_task").is_in(["global_mmlu", "truthfulqa"])
    same = (pl.when(plain).then(name.replace("_norm", "")).otherwise(pl.col(name)).alias(name) for name in alike)
    frame = frame.with_columns(same).with_columns(pl.col("delta_score_norm_mean").alias("delta"))
    return frame.with_columns(pl.col(f"{m}_std").truediv(3**0.5).alias(f"{m}_se") for m in MEASURES)


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
        == [
            "All 1 known figures of the published grid are reproduced, each row is of 3 seeds, and the columns agree "
            "with one another to 1e-9."
        ]
    )
    assert "MT-CL mean is" in said[2e-9][0]


def test_a_published_table_that_lacks_whole_rows_is_said_to() -> None:
    assert "not its figures" in known.known_values(large())[0]
    assert known.known_values(large()[:-1]) == [
        "This table has 17,423 rows, the published grid has 17,424: its known figures cannot be checked."
    ]


def test_a_row_of_other_seeds_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "KNOWN", {})
    assert "All 0" in known.known_values(large())[0]
    assert "17,424 rows are not of 3 seeds" in known.known_values(large().with_columns(n_seeds=2))[0]


@pytest.mark.parametrize("column", [*STATISTICS, *ERRORS])
def test_a_column_that_the_others_contradict_is_said(column: str) -> None:
    """By a hundred-millionth, in a row of a task that has one score, so that nothing else has to be so."""
    assert known.contradictions(large()) == []
    row = large()["target_task"].to_list().index("truthfulqa")
    off = pl.when(pl.int_range(pl.len()) == row).then(pl.col(column) + 1e-8).otherwise(pl.col(column))
    said = known.contradictions(large().with_columns(off.alias(column)))
    assert said
    assert all(one.endswith(" contradicts other columns in 1 of 17,424 rows") for one in said)


def test_a_table_that_is_no_grid_is_said() -> None:
    row = pl.int_range(pl.len()) == 5
    other = pl.when(row).then(pl.lit("m9")).otherwise(pl.col("model")).alias("model")
    (said,) = known.contradictions(large().with_columns(other))
    assert said == "it is of 10 models, 44 sources and 44 targets, published 9, 44 and 44"


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
    assert notes[0].startswith("All 21 known figures of the published grid are reproduced")
