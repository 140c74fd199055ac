"""Conclusions that two studies share."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analysis.reading.study import Study
from analysis.statistics.roles import mean_of_rows
from analysis.tables import conclusions
from tests.support.transfers import grid, study_of

FIRST = "transfer raises scores on average"


def answers(here: pl.DataFrame, there: pl.DataFrame) -> dict[str, tuple[str, str, bool | None]]:
    table = conclusions.compare_conclusions((study_of(here), study_of(there)))
    return {row[0]: row[1:] for row in table.iter_rows()}


def test_conclusions_that_do_not_hold_are_named() -> None:
    here = grid(1).with_columns(pl.col("delta") + 5)
    assert answers(here, here.with_columns(-pl.col("delta")))[FIRST] == ("yes", "no", False)


def test_what_noise_makes_is_open_and_agrees_with_nothing() -> None:
    found = [answers(grid(seed), grid(seed + 50)) for seed in range(10)]
    told = [side for one in found for words, (*sides, _) in one.items() if words != FIRST for side in sides]
    assert sum(side.startswith("open (") for side in told) >= 0.85 * len(told)
    assert all(holds is None for one in found for here, there, holds in one.values() if "open" in here + there)


def test_one_model_without_items_is_told_as_measured() -> None:
    here = grid(1, models=1)
    found = answers(here, here)
    assert found[FIRST][0].endswith(" as measured")
    assert [words for words, (*_, holds) in found.items() if holds is not None] in (
        [],
        ["syntactically closer languages help each other more"],
    )


def test_one_models_items_tell_what_is_sure(study: Study) -> None:
    """Own cells gain 20 points, other languages of the task 8, other tasks lose 2: planted."""
    table = conclusions.compare_conclusions((study, study))
    found = {row[0]: row[1:] for row in table.iter_rows()}
    assert found["the own cell gains more than other languages of the task"] == ("yes", "yes", True)


def test_a_difference_of_means_over_models_equals_students_t() -> None:
    transfer = grid(3, models=5)
    one, other = (transfer.filter(pl.col("regime") == regime) for regime in ("MT-CL", "CT-ML"))
    frame = transfer.to_pandas()
    each = frame.groupby(["model", "regime"])["delta"].mean().unstack()
    apart = (each["MT-CL"] - each["CT-ML"]).to_numpy()
    found = mean_of_rows(one, (), other)
    assert found.value[0] == pytest.approx(apart.mean())
    assert found.high[0] - found.low[0] == pytest.approx(2 * 2.7764451 * apart.std(ddof=1) / np.sqrt(5))
