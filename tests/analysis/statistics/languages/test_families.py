"""Language families: means of their languages' scores."""

from __future__ import annotations

import polars as pl
import pytest
from scipy import stats

from analysis.frames import NotComputable
from analysis.reading.study import Study
from analysis.statistics.languages.families import COLUMNS, family_roles
from analysis.statistics.roles import language_roles
from tests.support.transfers import grid, planted


def test_a_family_has_the_mean_of_its_languages() -> None:
    transfer = planted()
    roles = language_roles(transfer).to_pandas().set_index("language")
    table = family_roles(transfer)
    found = {row["family"]: row for row in table.iter_rows(named=True)}
    assert {name: row["n_languages"] for name, row in found.items()} == {"Romance": 3, "Germanic": 2, "Chinese": 1}
    for family, languages in (("Romance", ["es", "fr", "pt"]), ("Germanic", ["de", "en"]), ("Chinese", ["zh"])):
        for role in ("donor", "recipient"):
            assert found[family][role] == pytest.approx(roles.loc[languages, role].mean())
    assert table["donor"].is_sorted(descending=True)


def test_codes_of_any_kind_and_families_that_are_not_known() -> None:
    names = {"es": "spa_Latn", "fr": "fr-CA", "pt": "por", "de": "xx", "en": "yy", "zh": "cmn"}
    changes = [pl.col(f"{end}_language").replace_strict(names) for end in ("source", "target")]
    table = family_roles(planted().with_columns(changes))
    counts = dict(table.select("family", "n_languages").iter_rows())
    assert counts == {"Romance": 3, "Chinese": 1, "other": 2}


def test_languages_that_have_no_relative_make_no_families() -> None:
    lonely = pl.col("source_language").is_in(["de", "zh"]) & pl.col("target_language").is_in(["de", "zh"])
    with pytest.raises(NotComputable, match="one family"):
        family_roles(planted().filter(lonely))


def test_a_familys_interval_is_students_t_over_models() -> None:
    """In each model the mean of the languages it has; with items of one model, over these."""
    transfer = grid(models=4).with_columns(
        pl.col(f"{end}_language").replace({"zh": "es"}) for end in ("source", "target")
    )
    table = family_roles(transfer)
    frame = transfer.filter(pl.col("regime") == "MT-CL").to_pandas()
    each = frame.groupby(["model", "source_language"])["delta"].mean().unstack()[["es", "fr"]].mean(axis=1)
    row = table.row(by_predicate=pl.col("family") == "Romance", named=True)
    half = stats.t.ppf(0.975, 3) * stats.sem(each)
    assert row["donor"] == pytest.approx(each.mean())
    assert (row["donor_low"], row["donor_high"]) == pytest.approx((each.mean() - half, each.mean() + half))
    assert (row["donor_models"], row["n_languages"], row["donor_over"]) == (4, 2, "models")
    assert table.columns == list(COLUMNS)


def test_of_one_model_a_familys_interval_is_over_its_items(study: Study) -> None:
    one = study.transfer.filter(pl.col("model") == study.transfer["model"][0])
    table = family_roles(one, study.grids)
    row = table.row(by_predicate=pl.col("family") == "Germanic", named=True)
    assert row["donor_over"] == "items"
    assert row["donor_low"] < row["donor"] < row["donor_high"]
    assert row["donor_adjusted_low"] < row["donor_adjusted"] < row["donor_adjusted_high"]
