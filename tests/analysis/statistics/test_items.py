"""Statistics of items where there are none."""

from __future__ import annotations

import polars as pl
import pytest

from analysis.frames import NotComputable
from analysis.statistics import health, significance, stability


def test_statistics_of_items_say_why_when_there_are_none() -> None:
    for make in (significance.significance, stability.rank_stability, health.health):
        with pytest.raises(NotComputable, match="item rows"):
            make([], pl.DataFrame())
