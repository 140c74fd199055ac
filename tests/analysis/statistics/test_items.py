"""Statistics of items where there are none."""

from __future__ import annotations

import polars as pl
import pytest

from analysis.frames import NotComputable
from analysis.statistics import groups, health, sensitivity, significance, stability
from analysis.statistics.variance import shares
from tests.support.transfers import grid


def test_statistics_of_items_say_why_when_there_are_none() -> None:
    for make in (significance.significance, groups.groups, sensitivity.sensitivity, shares.variance_noiseless):
        with pytest.raises(NotComputable, match="items that are right or wrong"):
            make([])
    with pytest.raises(NotComputable, match="items that are right or wrong"):
        stability.rank_stability(grid(models=1), [])
    with pytest.raises(NotComputable, match="items that are right or wrong"):
        health.health([], pl.DataFrame())
