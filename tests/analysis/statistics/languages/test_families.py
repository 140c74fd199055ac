"""Language families: means of their languages' scores."""

from __future__ import annotations

import polars as pl
import pytest

from analysis.frames import NotComputable
from analysis.statistics.languages.families import family_roles
from analysis.statistics.roles import language_roles
from tests.support.transfers import planted


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
