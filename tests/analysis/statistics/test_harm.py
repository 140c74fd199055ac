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


def test_harm_by_how_the_target_was_made(transfer: pl.DataFrame) -> None:
    """Curated and translated targets, of studies that have a curated one."""
    frame = transfer.to_pandas()
    frame = frame[frame["regime"] == "MT-CL"]
    table = harm.harm_breakdown(transfer, curated=("a",)).filter(pl.col("group") == "construction")
    assert table["value"].to_list() == ["curated", "translated"]
    for row in table.iter_rows(named=True):
        part = frame[(frame["target_task"] == "a") == (row["value"] == "curated")]
        n, mean, _, positive, harmed = summed_up(part["delta"])
        assert (row["n"], row["mean"], row["positive_rate"], row["harm_rate"]) == pytest.approx(
            (n, mean, positive, harmed)
        )
    assert "construction" not in set(harm.harm_breakdown(transfer, curated=("not here",))["group"])
