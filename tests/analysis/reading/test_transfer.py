"""The regime of a row."""

from __future__ import annotations

import polars as pl

from analysis.reading.transfer import with_regime


def test_joint_sources_belong_to_each_of_their_parts() -> None:
    rows = pl.DataFrame(
        {
            "source_task": ["a+b"] * 3,
            "source_language": ["de"] * 3,
            "target_task": ["a", "c", "b"],
            "target_language": ["en", "de", "de"],
        }
    )
    assert with_regime(rows)["regime"].to_list() == ["MT-CL", "CT-ML", "MT-ML"]
