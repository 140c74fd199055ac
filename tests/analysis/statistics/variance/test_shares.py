"""Shares of the variance: their errors, and statsmodels."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analysis.frames import NotComputable
from analysis.reading.study import Study
from analysis.statistics.variance import shares
from tests.support.transfers import effects, grid


def test_variance_tables_and_their_errors() -> None:
    frame = effects(1, models=4).sample(fraction=0.8, seed=1)
    table = shares.variance_crossed(frame, draws=12)
    assert table.columns == ["scope", "component", "share", "share_se"]
    assert table["scope"].unique(maintain_order=True).to_list() == ["overall", "MT-CL", "CT-ML", "CT-CL"]
    assert table["component"].to_list() == ["model", "source", "target", "residual"] * 4
    np.testing.assert_allclose(table.group_by("scope", maintain_order=True).agg(pl.col("share").sum())["share"], 100)
    assert (table["share_se"].drop_nulls() >= 0).all()
    assert table.equals(shares.variance_crossed(frame.sample(fraction=1, shuffle=True, seed=2), draws=12))


def test_variance_nested_equals_statsmodels() -> None:
    from statsmodels.regression.mixed_linear_model import MixedLM

    frame = effects(2, models=3).filter(pl.col("source_task") != "c", pl.col("target_task") != "c")
    table = shares.variance_nested(frame, draws=0).filter(pl.col("scope") == "overall")
    data = frame.filter(pl.col("regime") != "MT-ML").to_pandas()
    data["source"] = data["source_task"] + data["source_language"]
    data["target"] = data["target_task"] + data["target_language"]
    model = MixedLM.from_formula(
        "delta ~ 1",
        groups="model",
        re_formula="1",
        vc_formula={"source": "0 + C(source)", "target": "0 + C(target)"},
        data=data,
    )
    theirs = model.fit(reml=True, method="lbfgs")
    parts = np.array([theirs.cov_re.iloc[0, 0], *theirs.vcomp, theirs.scale])
    np.testing.assert_allclose(table["share"], 100 * parts / parts.sum(), atol=0.2)


def test_variance_of_one_model_leaves_its_share_open_and_constants_say_why() -> None:
    one = shares.variance_crossed(grid(models=1), draws=2).filter(pl.col("scope") == "overall")
    assert one.filter(pl.col("component") == "model")["share"].to_list() == [None]
    assert one["share"].sum() == pytest.approx(100)
    with pytest.raises(NotComputable, match="same"):
        shares.variance_crossed(grid().with_columns(pl.lit(1.0).alias("delta")))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("models", [1, 3])
def test_factors_that_leave_nothing_over_are_told_and_have_no_shares(models: int) -> None:
    of_targets = pl.col("target_task").rank("dense") * 7 + pl.col("target_language").rank("dense")
    exact = effects(4, models=models).with_columns(of_targets.cast(pl.Float64).alias("delta"))
    for fitted in (shares.variance_crossed, shares.variance_nested):
        with pytest.raises(NotComputable, match="no residual"):
            fitted(exact)


def test_nested_also_with_and_without_a_curated_task_overall_and_by_regime() -> None:
    frame = effects(3, models=3)
    table = shares.variance_nested(frame, draws=0, curated=("c",))
    whole = ["overall", "MT-CL", "CT-ML", "CT-CL"]
    assert table["scope"].unique(maintain_order=True).to_list() == [
        *whole,
        *(f"{scope}, {which} curated" for scope in whole for which in ("with", "without")),
    ]
    either = (pl.col("source_task") == "c") | (pl.col("target_task") == "c")
    for which, rows in (("with", either), ("without", ~either)):
        alone = shares.variance_nested(frame.filter(rows), draws=0)
        for scope in whole:
            ours = table.filter(pl.col("scope") == f"{scope}, {which} curated")["share"]
            np.testing.assert_allclose(ours, alone.filter(pl.col("scope") == scope)["share"], atol=1e-6)


def test_without_noise_shares_add_up_to_the_variance_that_is_printed(study: Study) -> None:
    table = shares.variance_noiseless(study.grids)
    assert table["scope"].unique(maintain_order=True).to_list()[0] == "overall"
    for _, rows in table.group_by("scope"):
        assert rows["share"].sum() == pytest.approx(100)
        assert rows.filter(pl.col("component") == "measurement")["share"].item() > 0
    overall = table.filter(pl.col("scope") == "overall")
    assert overall["component"].to_list()[:3] == ["model", "source", "target"]
    printed = study.transfer.filter(pl.col("regime") != "MT-ML")["delta"]
    assert overall["variance"].sum() == pytest.approx(printed.var(), rel=1e-3)
