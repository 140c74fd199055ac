"""Advice on targets that are graded: by their own metric, in its unit, with its loss that counts."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import polars as pl
import pytest

from analysis.advice import answers
from analysis.advice.expected import expectations
from analysis.advice.metric import metrics_of
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.reading.transfer import transfer
from study.cells import Cell
from study.errors import ConfigError
from tests.support.combined import MODEL, Mix, World, normal_effects, study_of

CELLS = [Cell(task, language) for task in "ab" for language in ("de", "en", "fr")]
MIXES = [Mix(f"{x}+{y}", {x: 1.0, y: 1.0}) for x, y in combinations(CELLS, 2) if CELLS[0] not in (x, y)]


def graded(plain: Study, metric: str = "rougeL", size: float = 1.0, tasks: str = "ab", harm: float = 0.01) -> Study:
    """The same study, of which some tasks' items are graded by a metric instead of being right or wrong."""

    def as_graded(panel: Panel) -> Panel:
        return replace(panel, metric=metric, norm=panel.norm * np.float32(size), correct=panel.correct)

    mine, others = [], []
    for panel in plain.panels:
        (mine if panel.task in tasks else others).append(panel)
    kept = plain.units.filter(~pl.col("target_task").is_in(list(tasks)), pl.col("kind") == "trained")
    config = {"tasks": [{"name": task, "harm": harm} for task in tasks]}
    rows = transfer(kept, plain.joint)
    return replace(plain, panels=tuple(others), graded=tuple(map(as_graded, mine)), transfer=rows, config=config)


@pytest.fixture(scope="module")
def plain() -> Study:
    return study_of(World(normal_effects(0.05, seed=2), MIXES, items=300))


@pytest.mark.parametrize(("metric", "size", "words"), [("rougeL", 1, "points of rougeL"), ("bits", 3, "bits")])
def test_a_graded_target_has_the_same_advice_in_its_own_unit(
    plain: Study, metric: str, size: float, words: str
) -> None:
    mine = answers.about_target(graded(plain, metric, size, harm=0.01 * size), "b/fr", None)
    right = answers.about_target(plain, "b/fr", None)
    assert f"best expected Δ first, {words}" in mine.sentence
    assert mine.table["source"].to_list() == right.table["source"].to_list()
    print_as = 1.0 if metric == "rougeL" else size / 100
    for name in ("delta", "expected", "low", "high", "mean_elsewhere"):
        np.testing.assert_allclose(mine.table[name], right.table[name] * print_as, rtol=0.02, atol=0.02 * print_as)
    np.testing.assert_allclose(mine.table["harm_elsewhere"], right.table["harm_elsewhere"], atol=2.0)
    made, others = (one.beside[0].table for one in (mine, right))
    assert made["composition"].to_list() == others["composition"].to_list()
    np.testing.assert_allclose(made["over_donor"], others["over_donor"] * print_as, rtol=0.02, atol=0.02 * print_as)
    assert [one.sentence.partition(",")[0] for one in mine.beside] == [
        one.sentence.partition(",")[0] for one in right.beside
    ]


def test_harm_elsewhere_is_of_every_metric_and_a_mean_of_one(plain: Study) -> None:
    study = graded(plain, tasks="b", harm=0.05)
    by_right, by_words = metrics_of(study)
    assert (by_right.name, by_words.name, by_words.harm) == ("accuracy", "rougeL", {"b": -5.0})
    row = answers.about_target(study, "b/fr", None).table.row(0, named=True)
    known = [expectations(one.transfer, one.grids, None, one.harm) for one in (by_right, by_words)]
    every = pl.concat(known).filter(pl.col("source") == row["source"], pl.col("target") != "b/fr")
    assert row["harm_elsewhere"] == pytest.approx(100 * every["harm"].mean())
    usual = expectations(by_words.transfer, by_words.grids, None)  # a loss of a point counts
    assert (usual["harm"] >= known[1]["harm"]).all()
    same = every.filter(pl.col("target").str.starts_with("b/"))
    assert row["mean_elsewhere"] == pytest.approx(same["expected"].mean())
    told = answers.about_source(study, "a/de")
    assert "pp" in told.sentence
    assert set(told.table["target"]) == {"a/de", "a/en", "a/fr"}
    (other,) = told.beside
    assert "points of rougeL" in other.sentence
    assert set(other.table["target"]) == {"b/de", "b/en", "b/fr"}


def test_a_study_of_graded_targets_alone_is_asked_like_any_other(plain: Study) -> None:
    study = answers.chosen(graded(plain), MODEL)
    assert study.transfer.height == 0
    assert answers.about_target(study, "a/de", None).table.height == 6
    with pytest.raises(ConfigError, match="one of tiny-1B"):
        answers.chosen(graded(plain), "other")
    with pytest.raises(ConfigError, match="on a target beside its base"):
        answers.chosen(replace(graded(plain), graded=()), None)
