"""Answers about targets and sources."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analysis.reading.study import Study
from analysis.statistics import advice


def test_answers_are_means_and_intervals_over_models(study: Study) -> None:
    known = advice.answers(study.transfer, None, None)
    row = known.row(5, named=True)
    task, language = row["source"].split("/")
    target_task, target_language = row["target"].split("/")
    rows = study.transfer.filter(
        pl.col("source_task") == task,
        pl.col("source_language") == language,
        pl.col("target_task") == target_task,
        pl.col("target_language") == target_language,
    )
    delta, se = rows["delta"].to_numpy(), rows["delta_se"].to_numpy()
    half = 1.96 * np.sqrt((delta.var(ddof=1) + (se**2).mean()) / len(delta))
    assert (row["expected"], row["low"], row["high"]) == pytest.approx(
        (delta.mean(), delta.mean() - half, delta.mean() + half)
    )


def test_target_advice_ranks_and_limits_harm(study: Study) -> None:
    known = advice.answers(study.transfer, None, None)
    table = advice.for_target(known, "names/de")
    assert table["expected"].is_sorted(descending=True)
    assert table.height == 6
    one = table.row(0, named=True)
    others = known.filter(pl.col("source") == one["source"], pl.col("target") != "names/de")["expected"]
    assert one["harm_elsewhere"] == pytest.approx(100 * (others <= -1).mean())
    strict = advice.for_target(known, "names/de", max_harm=20)
    assert set(strict["source"]) == set(table.filter(pl.col("harm_elsewhere") <= 20)["source"])
