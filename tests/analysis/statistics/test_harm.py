"""On and off the own task, and where it harms, against plain pandas."""

from __future__ import annotations

import polars as pl
import pytest

from analysis.statistics import harm
from tests.support.transfers import summed_up


def test_on_off_task(transfer: pl.DataFrame) -> None:
    frame = transfer.to_pandas()
    table = harm.on_off_task(transfer)
    assert table.height == 6
    for row in table.iter_rows(named=True):
        rows = frame[(frame["source_task"] == row["source_task"]) & (frame["regime"] != "MT-ML")]
        on = rows["target_task"] == row["source_task"]
        n, mean, _, positive, harmed = summed_up(rows[on if row["side"] == "on_task" else ~on]["delta"])
        assert (row["n"], row["mean"], row["positive_rate"], row["harm_rate"]) == pytest.approx(
            (n, mean, positive, harmed)
        )


def test_harm_breakdown(transfer: pl.DataFrame) -> None:
    frame = transfer.to_pandas()
    frame = frame[frame["regime"] == "MT-CL"].assign(size=frame["model_size"].map({1.0: "S", 3.0: "M", 8.0: "L"}))
    table = harm.harm_breakdown(transfer)
    assert set(table["group"]) == {"target_language", "target_task", "size", "model_family"}
    for row in table.iter_rows(named=True):
        n, mean, _, positive, harmed = summed_up(frame[frame[row["group"]] == row["value"]]["delta"])
        assert (row["n"], row["mean"], row["positive_rate"], row["harm_rate"]) == pytest.approx(
            (n, mean, positive, harmed)
        )
