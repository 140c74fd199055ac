"""Claims about groups of cells against scipy on averaged items, and Simes by hand."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.reading.study import Study
from analysis.statistics import groups, significance


@pytest.fixture(scope="module")
def table(study: Study) -> pl.DataFrame:
    return groups.groups(study.grids)


def test_every_family_covers_the_transfer_cells(table: pl.DataFrame, study: Study) -> None:
    rows = study.transfer.filter(pl.col("regime") != "MT-ML")
    for family, keys in groups.FAMILIES.items():
        mine = table.filter(pl.col("family") == family)
        assert mine["n_cells"].sum() == rows.height
        means = rows.group_by("model", *keys).agg(pl.col("delta").mean().alias("plain"))
        both = mine.join(means, on=["model", *keys])
        assert both.height == mine.height
        np.testing.assert_allclose(both["mean"], both["plain"], atol=1e-4)
        for _, part in mine.group_by("model"):
            np.testing.assert_allclose(part["q_worse"], stats.false_discovery_control(part["p_worse"]))


def test_some_cell_is_by_simes(table: pl.DataFrame, study: Study) -> None:
    cells = significance.significance(study.grids).filter(pl.col("regime") != "MT-ML")
    row = table.filter(pl.col("family") == "source on task").row(4, named=True)
    keys = ["model", *groups.FAMILIES["source on task"]]
    mine = cells.filter(*(pl.col(key) == row[key] for key in keys))
    assert row["p_worse"] == pytest.approx(stats.false_discovery_control(mine["p_worse"]).min())


def test_the_mean_is_a_t_of_item_means(table: pl.DataFrame) -> None:
    mine = table.filter(pl.col("family") == "source")
    assert ((mine["low"] < mine["mean"]) & (mine["mean"] < mine["high"])).all()
    assert ((mine["p_worse"] + mine["p_better"] - 1).abs() < 1e-9).all()
    assert ((mine["p_worse"] < 0.025) == (mine["high"] < 0)).all()


def test_a_group_of_one_cell_is_that_cell(study: Study) -> None:
    """Few items changed: without the cell's pseudo-items a mean would be surer than the cell itself."""
    one = study.grids[0]
    of_target = {name: getattr(one.grid, name)[:1] for name in ("influence", "cluster", "task", "graded")}
    kept = replace(_first(one.grid), **of_target)
    first = replace(one, targets=one.targets[:1], grid=kept, cells=_first(one.cells))
    found = groups.groups([first]).filter(pl.col("family") == "source")
    cells = significance.significance([first]).filter(pl.col("regime") != "MT-ML")
    both = found.join(cells, on=["source_task", "source_language"], suffix="_cell")
    assert both.height == cells.height > 0
    for column in ("low", "high", "p_worse", "p_better"):
        np.testing.assert_allclose(both[column], both[f"{column}_cell"])


def _first(part: Any) -> Any:
    """Grid or cells of the first target alone."""
    own = {f.name: getattr(part, f.name) for f in fields(part)}
    return replace(part, **{name: v[:, :1] for name, v in own.items() if isinstance(v, np.ndarray) and v.ndim == 2})
