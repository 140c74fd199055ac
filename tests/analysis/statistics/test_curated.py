"""Curated against translated tasks, against scipy."""

from __future__ import annotations

import pytest
from scipy import stats

from analysis.frames import NotComputable
from analysis.statistics import curated
from tests.support.transfers import grid


def test_curated_vs_translated_equals_scipy() -> None:
    transfer = grid()
    table = curated.curated_vs_translated(transfer, ["a"])
    frame = transfer.to_pandas()
    frame = frame[frame["regime"] == "MT-CL"]
    sides = [
        part.groupby(["model", "source_language"])["delta"].mean().groupby("source_language").mean()
        for part in (frame[frame["target_task"] == "a"], frame[frame["target_task"] != "a"])
    ]
    assert table["spearman"].item() == pytest.approx(stats.spearmanr(*sides).statistic)
    with pytest.raises(NotComputable, match="--curated"):
        curated.curated_vs_translated(transfer)
