"""Correlations with linguistic distance against scipy, on a planted effect."""

from __future__ import annotations

import polars as pl
import pytest
from scipy import stats

from analysis.frames import NotComputable
from analysis.statistics.languages import linguistic, uriel
from tests.support.transfers import grid


def test_linguistic_equals_scipy_and_finds_a_planted_effect() -> None:
    transfer = grid(models=1)
    languages = ["de", "en", "fr", "zh"]
    apart = uriel.distances(languages, "syntax_knn")
    at = {name: i for i, name in enumerate(languages)}
    planted = [
        delta - 60 * apart[at[s], at[t]]
        for s, t, delta in transfer.select("source_language", "target_language", "delta").iter_rows()
    ]
    table = linguistic.linguistic(transfer.with_columns(pl.Series("delta", planted)), permutations=100)
    frame = linguistic.pairs(transfer.with_columns(pl.Series("delta", planted))).to_pandas()
    for row in table.iter_rows(named=True):
        part = frame[frame["distance"] == row["distance"]]
        assert row["n_pairs"] == len(part) == 12
        assert row["pearson"] == pytest.approx(part["delta"].corr(part["value"]))
        assert row["spearman"] == pytest.approx(
            stats.spearmanr(part["delta"].round(9), part["value"].round(9)).statistic
        )
    assert table.row(0, named=True)["pearson"] < -0.8


def test_linguistic_reports_unknown_languages() -> None:
    renamed = grid().with_columns(pl.col("source_language", "target_language").replace("zh", "klingon"))
    table = linguistic.linguistic(renamed, permutations=10)
    assert table["unknown_languages"].unique().to_list() == ["klingon"]
    assert table["n_languages"].unique().to_list() == [3]
    nothing = grid().with_columns(pl.concat_str(pl.lit("qq"), "source_language").alias("source_language"))
    with pytest.raises(NotComputable):
        linguistic.linguistic(nothing.filter(pl.col("target_language") == "de"))
