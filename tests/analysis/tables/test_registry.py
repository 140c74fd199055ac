"""The reference study's tables against plain pandas, on full and on incomplete grids."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from analysis.frames import NotComputable
from analysis.reading.transfer import with_regime
from analysis.statistics import matrices, pareto, regimes, roles


def grid(seed: int = 0, models: int = 3, drop: float = 0.0, ties: bool = False) -> pl.DataFrame:
    """A transfer table with made-up Δ; `ties` rounds them to whole points so that −1 and 0 occur often."""
    rng = np.random.default_rng(seed)
    cells = [(t, lang) for t in ("a", "b", "c") for lang in ("de", "en", "fr", "zh")]
    rows = [
        (f"m{m}", (1.0, 3.0, 8.0)[m % 3], ("x", "y")[m % 2], *s, *t, float(rng.normal(0.4, 2)))
        for m in range(models)
        for s in cells
        for t in cells
        if rng.random() >= drop
    ]
    names = [
        "model",
        "model_size",
        "model_family",
        "source_task",
        "source_language",
        "target_task",
        "target_language",
        "delta",
    ]
    frame = with_regime(pl.DataFrame(rows, schema=names, orient="row"))
    return frame.with_columns(pl.col("delta").round(0)) if ties else frame


@pytest.fixture(params=[(0.0, False), (0.4, False), (0.0, True)], ids=["full", "incomplete", "ties"])
def transfer(request: pytest.FixtureRequest) -> pl.DataFrame:
    return grid(drop=request.param[0], ties=request.param[1])


def stats(delta: pd.Series) -> list[float]:
    return [len(delta), delta.mean(), delta.median(), 100 * (delta > 0).mean(), 100 * (delta <= -1).mean()]


def test_regime_summary(transfer: pl.DataFrame) -> None:
    frame = transfer.to_pandas()
    table = regimes.regime_summary(transfer)
    assert table.columns == ["regime", "n", "mean", "median", "positive_rate", "harm_rate"]
    assert table["regime"].to_list() == ["all", "MT-ML", "MT-CL", "CT-ML", "CT-CL"]
    for name, *values in table.iter_rows():
        rows = frame[frame["regime"] != "MT-ML"] if name == "all" else frame[frame["regime"] == name]
        np.testing.assert_allclose(values, stats(rows["delta"]))


@pytest.mark.parametrize(("kind", "regime"), [("language", "MT-CL"), ("task", "CT-ML")])
def test_roles(transfer: pl.DataFrame, kind: str, regime: str) -> None:
    frame = transfer.to_pandas()
    rows = frame[frame["regime"] == regime]
    table = (roles.language_roles if kind == "language" else roles.task_roles)(transfer)
    assert table.columns == [kind, "donor", "donor_se", "recipient", "recipient_se", "n_models"]
    for side, end in (("donor", "source"), ("recipient", "target")):
        means = rows.groupby(["model", f"{end}_{kind}"])["delta"].mean().unstack()
        ours = table.to_pandas().set_index(kind).loc[means.columns]
        np.testing.assert_allclose(ours[side], means.mean())
        np.testing.assert_allclose(ours[f"{side}_se"], means.sem())


def test_roles_of_one_model_have_no_standard_error() -> None:
    table = roles.language_roles(grid(models=1))
    assert table["donor_se"].null_count() == table.height


def test_matrices(transfer: pl.DataFrame) -> None:
    frame = transfer.to_pandas()
    for table, regime, kind in (
        (matrices.task_matrix(transfer), "CT-ML", "task"),
        (matrices.language_matrix(transfer), "MT-CL", "language"),
    ):
        expected = frame[frame["regime"] == regime].groupby([f"source_{kind}", f"target_{kind}"])["delta"].mean()
        assert table.columns == ["source", "target", "delta"]
        np.testing.assert_allclose(table["delta"], expected.sort_index())
        assert (table["source"] != table["target"]).all()


def test_cell_matrix_averages_models(transfer: pl.DataFrame) -> None:
    table = matrices.cell_matrix(transfer)
    one = table.row(7, named=True)
    rows = transfer.filter(
        *(pl.col(k) == one[k] for k in ("source_task", "source_language", "target_task", "target_language"))
    )
    assert one["delta"] == pytest.approx(rows["delta"].mean())
    assert one["harmed"] == (rows["delta"] <= -1).sum()
    assert (
        table.height == transfer.select("source_task", "source_language", "target_task", "target_language").n_unique()
    )


def test_pareto(transfer: pl.DataFrame) -> None:
    table = pareto.pareto(transfer)
    assert table.columns == [
        "model",
        "source_task",
        "source_language",
        "on_task",
        "off_task",
        "harm_rate",
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
        beaten = any(o["on_task"] > row["on_task"] and o["off_task"] > row["off_task"] for o in others)
        assert row["on_frontier"] is not beaten


def test_on_off_task(transfer: pl.DataFrame) -> None:
    frame = transfer.to_pandas()
    table = regimes.on_off_task(transfer)
    assert table.height == 6
    for row in table.iter_rows(named=True):
        rows = frame[(frame["source_task"] == row["source_task"]) & (frame["regime"] != "MT-ML")]
        on = rows["target_task"] == row["source_task"]
        n, mean, _, positive, harm = stats(rows[on if row["side"] == "on_task" else ~on]["delta"])
        assert (row["n"], row["mean"], row["positive_rate"], row["harm_rate"]) == pytest.approx(
            (n, mean, positive, harm)
        )


def test_harm_breakdown(transfer: pl.DataFrame) -> None:
    frame = transfer.to_pandas()
    frame = frame[frame["regime"] == "MT-CL"].assign(size=frame["model_size"].map({1.0: "S", 3.0: "M", 8.0: "L"}))
    table = regimes.harm_breakdown(transfer)
    assert set(table["group"]) == {"target_language", "target_task", "size", "model_family"}
    for row in table.iter_rows(named=True):
        n, mean, _, positive, harm = stats(frame[frame[row["group"]] == row["value"]]["delta"])
        assert (row["n"], row["mean"], row["positive_rate"], row["harm_rate"]) == pytest.approx(
            (n, mean, positive, harm)
        )


def test_one_language_says_why() -> None:
    only = grid().filter(pl.col("source_language") == "de", pl.col("target_language") == "de")
    with pytest.raises(NotComputable, match="MT-CL"):
        roles.language_roles(only)
    assert roles.task_roles(only).height == 3
    with pytest.raises(NotComputable, match="no source has both"):
        pareto.pareto(only)


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
