"""Donors and recipients against plain pandas and scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.frames import NotComputable
from analysis.reading.study import Study, load_store
from analysis.statistics import pareto, roles
from analysis.statistics.languages import families
from tests.support.synth import Shape, write_store
from tests.support.transfers import grid


@pytest.mark.parametrize(("kind", "regime"), [("language", "MT-CL"), ("task", "CT-ML")])
def test_roles(transfer: pl.DataFrame, kind: str, regime: str) -> None:
    """Means over models and their t intervals."""
    frame = transfer.to_pandas()
    rows = frame[frame["regime"] == regime]
    table = (roles.language_roles if kind == "language" else roles.task_roles)(transfer)
    for side, end in (("donor", "source"), ("recipient", "target")):
        means = rows.groupby(["model", f"{end}_{kind}"])["delta"].mean().unstack()
        ours = table.to_pandas().set_index(kind).loc[means.columns]
        np.testing.assert_allclose(ours[side], means.mean(), atol=1e-12)
        half = stats.t.ppf(0.975, means.count() - 1) * means.sem()
        np.testing.assert_allclose(ours[f"{side}_low"], means.mean() - half)
        np.testing.assert_allclose(ours[f"{side}_high"], means.mean() + half)
        assert (ours[f"{side}_models"] == means.count()).all()
        assert set(ours[f"{side}_over"]) == {"models"}


def test_a_full_table_is_adjusted_only_for_the_diagonal() -> None:
    """Sources and targets whose effects add up are ordered as those effects are, whoever was met."""
    give, take = {"de": 0.0, "en": 1.0, "fr": 2.0, "zh": 3.0}, {"de": 40.0, "en": 0.0, "fr": 0.0, "zh": -40.0}
    effect = pl.col("source_language").replace_strict(give) + pl.col("target_language").replace_strict(take)
    table = roles.language_roles(grid().with_columns(effect.cast(pl.Float64).alias("delta")))
    adjusted = dict(table.select("language", "donor_adjusted").iter_rows())
    assert {name: adjusted[name] - adjusted["de"] for name in give} == pytest.approx(give)
    raw = dict(table.select("language", "donor").iter_rows())
    assert raw["de"] < raw["zh"] - 20


def test_one_model_speaks_of_its_items_or_not_at_all(tmp_path: Path) -> None:
    table = roles.language_roles(grid(models=1))
    assert table["donor_low"].null_count() == table["donor_over"].null_count() == table.height
    write_store(tmp_path / "s", Shape(items=20))
    study = load_store(str(tmp_path / "s"))
    known = roles.language_roles(study.transfer, study.grids)
    assert set(known["donor_over"]) == {"items"}
    assert ((known["donor_low"] < known["donor"]) & (known["donor"] < known["donor_high"])).all()


def test_items_that_models_share_widen_the_interval(study: Study) -> None:
    bare, known = (roles.language_roles(study.transfer, grids) for grids in ((), study.grids))
    width = [(table["donor_high"] - table["donor_low"]) for table in (bare, known)]
    assert (width[1] >= width[0] - 1e-3).all()


def test_one_language_says_why() -> None:
    only = grid().filter(pl.col("source_language") == "de", pl.col("target_language") == "de")
    with pytest.raises(NotComputable, match="MT-CL"):
        roles.language_roles(only)
    assert roles.task_roles(only).height == 3
    with pytest.raises(NotComputable, match="no source has both"):
        pareto.pareto(only)


def test_families_are_means_of_their_languages() -> None:
    transfer = grid()
    scores = dict(roles.language_roles(transfer).select("language", "donor").iter_rows())
    table = families.family_roles(transfer)
    rows = {row["family"]: row for row in table.iter_rows(named=True)}
    assert set(rows) == {"Germanic", "Romance", "Chinese"}
    assert rows["Germanic"]["donor"] == pytest.approx((scores["de"] + scores["en"]) / 2)
    assert rows["Germanic"]["n_languages"] == 2
