"""Families, places and scripts: known ones, and distances as URIEL has them."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from analysis.statistics.languages import places, uriel


def test_distances_are_those_one_knows() -> None:
    names = ["de", "en", "fr", "zh", "eu", "klingon"]
    genetic, far = places.genetic(names), places.geographic(names) * 20015  # km
    assert genetic[0, 1] < genetic[0, 2] < genetic[0, 3] == 1.0
    assert genetic[4, :4].tolist() == [1.0] * 4  # of no known family
    assert genetic[4, 4] == 0.0
    assert far[0, 1] == pytest.approx(1050, abs=150)
    assert far[0, 3] == pytest.approx(7700, abs=400)
    assert np.isnan(genetic[5]).all()
    assert np.isnan(far[5]).all()
    np.testing.assert_allclose(genetic[:5, :5], genetic[:5, :5].T)
    assert far[:5, :5].diagonal().max() < 1


def test_scripts_are_the_likely_ones_or_those_that_a_code_names() -> None:
    known = {"de": "Latn", "sr": "Cyrl", "sr_Latn": "Latn", "zh-Hant": "Hant", "hi": "Deva", "klingon": None}
    known |= {"taq_Tfng": "Tfng", "mn_mong": "Mong", "pt_BR": "Latn"}
    assert {name: places.script_of(name) for name in known} == known
    assert places.scripts(["sr", "ru", "sr_Latn"])[0].tolist() == [0.0, 0.0, 1.0]


def test_the_table_is_what_the_module_makes() -> None:
    text = (resources.files("analysis.statistics.languages") / "places.csv").read_text(encoding="utf-8")
    assert text.startswith(places.HEADER)
    for language, iso in uriel.known():
        if (place := places._places().get(language)) is not None:
            assert place.script == places.likely_script(language, iso), language


def test_codes_of_one_language_have_one_script() -> None:
    pairs = [("fre", "fr"), ("fra", "fr"), ("dut", "nl"), ("chi", "zh"), ("als", "sq")]
    for other, usual in pairs:
        assert places.script_of(other) == places.script_of(usual) is not None
    assert [uriel.table_code(code) for code in ("fra", "deu", "por", "zho")] == ["fr", "de", "pt", "zh"]


def test_every_language_with_vectors_has_a_place() -> None:
    lacking = [name for name, _ in uriel.known() if np.isnan(places.geographic([name])[0, 0])]
    assert len(lacking) <= 4, lacking
