"""A user's own distances: what is read, and what is told of a file that cannot be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.reading.own import read_own
from analysis.reading.study import Study
from analysis.statistics.languages.distances import FERTILITY, NOT_SEEN, OVERLAP, WORDS, distances, with_own
from study.errors import ConfigError
from study.store.seen import Seen, SeenTokens


def write(folder: Path, text: str) -> str:
    (folder / "own.csv").write_text(text, encoding="utf-8")
    return str(folder / "own.csv")


def test_they_stand_beside_ours_and_the_mean_of_both_directions_counts(tmp_path: Path, study: Study) -> None:
    file = write(tmp_path, "source,target,name,value\nde,en,trade,1\nen,de,trade,3\nde,fr,trade,5\n")
    found = distances(with_own(study, file), ["de", "en", "fr"], ["tiny-0.5B"])
    assert found.between("trade", "de", "en") == found.between("trade", "en", "de") == 2.0
    assert found.between("trade", "fr", "de") == 5.0
    assert np.isnan(found.between("trade", "en", "fr"))
    assert found.lacking == {FERTILITY: NOT_SEEN, OVERLAP: NOT_SEEN}  # of a store that was written before
    assert set(found.known) == {*WORDS, "trade"} - {FERTILITY, OVERLAP}


def test_tokens_are_of_the_models_that_are_asked_about(study: Study) -> None:
    tokens = {
        "a": SeenTokens({"de": 0.2, "en": 0.1}, {"de": {"de": 1.0, "en": 0.4}, "en": {"de": 0.4, "en": 1.0}}),
        "b": SeenTokens({"de": 0.3, "en": 0.3}, {"de": {"de": 1.0, "en": 0.8}, "en": {"de": 0.8, "en": 1.0}}),
    }
    seen = replace(study, seen=Seen(tokens=tokens))
    both, one = distances(seen, ["de", "en"], ["a", "b"]), distances(seen, ["de", "en"], ["a"])
    assert one.between(FERTILITY, "de", "en") == pytest.approx(np.log(2))
    assert both.between(FERTILITY, "en", "de") == pytest.approx(np.log(2) / 2)
    assert one.between(OVERLAP, "de", "en") == pytest.approx(0.6)
    assert both.between(OVERLAP, "de", "en") == pytest.approx(0.4)
    assert distances(seen, ["de", "en"], ["c"]).lacking[OVERLAP] == NOT_SEEN


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("source,target,value\nde,en,1\n", "has no column name: its first line has to be source,target,name,value"),
        ("source,target,name,value\n", "holds no distance"),
        ("source,target,name,value\nde,en,trade,far\n", "own.csv, line 2.*'far' is no number"),
        ("source,target,name,value\nde,en,trade,nan\n", "'nan' is no number"),
        ("source,target,name,value\nde,,trade,1\n", "line 2.*lacks a source, target or name"),
        ("source,target,name,value\nde,en,genetic,1\n", "genetic is one that the report has itself"),
        ("source,target,name,value\nde,en,all together,1\n", "all together is one that the report has itself"),
        ("source,target,name,value\nde,en,trade,1\nde,en,trade,2\n", "line 3.*trade of de and en stands twice"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(text: str, told: str, tmp_path: Path, study: Study) -> None:
    with pytest.raises(ConfigError) as error:
        with_own(study, write(tmp_path, text))
    words = str(error.value).replace("\n  fix", "")
    assert words.startswith("--distances")
    assert all(part.strip() in words for part in told.replace(":", ".*").split(".*")), words


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match=r"--distances.*cannot be read"):
        read_own("/nowhere.csv", frozenset())
