"""The frontier against plain pandas."""

from __future__ import annotations

import polars as pl
import pytest

from analysis.statistics import pareto


def test_pareto(transfer: pl.DataFrame) -> None:
    table = pareto.pareto(transfer)
    assert table.columns == [
        "model",
        "source_task",
        "source_language",
        "on_task",
        "off_task",
        "harm_rate",
        "harm_floor",
        "harm_least",
        "on_frontier",
    ]
    frame = transfer.to_pandas()
    for row in table.iter_rows(named=True):
        mine = frame[
            (frame["model"] == row["model"])
            & (frame["source_task"] == row["source_task"])
            & (frame["source_language"] == row["source_language"])
        ]
        off = mine[mine["target_task"] != row["source_task"]]["delta"]
        assert row["on_task"] == pytest.approx(mine[mine["regime"] == "MT-CL"]["delta"].mean())
        assert row["off_task"] == pytest.approx(off.mean())
        assert row["harm_rate"] == pytest.approx(100 * (off <= -1).mean())
        others = [r for r in table.iter_rows(named=True) if r["model"] == row["model"]]
        sides = ("on_task", "off_task")
        beaten = any(
            all(o[side] >= row[side] for side in sides) and any(o[side] > row[side] for side in sides) for o in others
        )
        assert row["on_frontier"] is not beaten


def test_tasks_are_means_over_languages_of_the_runs_with_enough_targets(transfer: pl.DataFrame) -> None:
    table = pareto.pareto_tasks(transfer)
    frame = transfer.to_pandas().dropna(subset=["delta"])
    runs = []
    for (model, task, _), mine in frame.groupby(["model", "source_task", "source_language"]):
        on, off = mine[mine["regime"] == "MT-CL"]["delta"], mine[mine["target_task"] != task]["delta"]
        if len(on) >= 3 and len(off) >= 5:
            runs.append((model, task, on.mean(), off.mean(), 100 * (off <= -1).mean()))
    for row in table.iter_rows():
        mine = [run[2:] for run in runs if run[:2] == row[:2]]
        assert row[2:5] == pytest.approx([sum(side) / len(mine) for side in zip(*mine, strict=True)])
        assert row[-1] == len(mine)
    assert table.height == len({run[:2] for run in runs}) > 0
