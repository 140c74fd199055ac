"""The Consistency Index against scipy and pandas."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from analysis.frames import NotComputable
from analysis.reading.study import load_store
from analysis.statistics import consistency
from tests.support.synth import Shape, write_store
from tests.support.transfers import grid


@pytest.mark.parametrize("ties", [False, True])
def test_tau_b_equals_scipy(ties: bool) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 4, (9, 4)).astype(float) if ties else rng.normal(size=(9, 4))
    values[rng.random(values.shape) < 0.2] = np.nan
    ours = consistency.tau_b(values)
    for a, b in itertools.combinations(range(4), 2):
        both = ~np.isnan(values[:, [a, b]]).any(axis=1)
        assert ours[a, b] == pytest.approx(stats.kendalltau(values[both, a], values[both, b]).statistic)


@pytest.mark.parametrize(("drop", "ties"), [(0.0, False), (0.3, True)])
def test_consistency_equals_pandas(drop: float, ties: bool) -> None:
    transfer = grid(models=6, drop=drop, ties=ties)
    table = consistency.consistency(transfer)
    assert table.columns == ["axis", "regime", "median", "q1", "q3", "n_sources", "ceiling"]
    assert table["ceiling"].null_count() == table.height
    frame = transfer.to_pandas()
    frame = frame[frame["regime"] != "MT-ML"]
    frame["cell"] = frame["target_task"] + "/" + frame["target_language"]
    axes = {"model": "model", "family": "model_family", "size": "model_size"}
    for row in table.iter_rows(named=True):
        column = axes[row["axis"]]
        recipient = {"MT-CL": "target_language", "CT-ML": "target_task", "CT-CL": "cell"}[row["regime"]]
        part = frame[frame["regime"] == row["regime"]]
        part = part.groupby([column, "source_task", "source_language", recipient])["delta"].mean().reset_index()
        means = []
        for _, group in part.groupby(["source_task", "source_language"]):
            wide = group.pivot_table(index=recipient, columns=column, values="delta")
            taus = []
            for a, b in itertools.combinations(wide.columns, 2):
                both = wide[[a, b]].dropna()
                if len(both) >= 3:
                    taus.append(stats.kendalltau(both[a].round(9), both[b].round(9)).statistic)
            if np.isfinite(taus).any():
                means.append(np.nanmean(taus))
        expected = pd.Series(means)
        assert row["n_sources"] == len(expected)
        quartiles = [expected.median(), expected.quantile(0.25), expected.quantile(0.75)]
        assert [row["median"], row["q1"], row["q3"]] == pytest.approx(quartiles)


def test_consistency_of_one_model_says_why() -> None:
    with pytest.raises(NotComputable, match="two models"):
        consistency.consistency(grid(models=1))


def test_ceilings_are_of_noise_alone(tmp_path: Path) -> None:
    """Few items: even models that agreed perfectly would rank targets rather differently."""
    models = (("tiny-0.5B", 0.5), ("small-3B", 3.0))
    write_store(tmp_path / "s", Shape(models=models, languages=("de", "en", "es", "fr"), items=24))
    study = load_store(str(tmp_path / "s"))
    table = consistency.consistency(study.transfer, study.grids)
    known = table.filter(pl.col("axis") == "model")["ceiling"].drop_nulls()
    assert len(known)
    assert known.is_between(0, 0.95).all()
