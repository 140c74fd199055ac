"""Advice ranks compositions beside sources, and proposes sums that were not tried as far as sums add up."""

from __future__ import annotations

from itertools import combinations

import polars as pl
import pytest

from analysis.advice import combined
from analysis.advice.answers import about_target
from analysis.advice.metric import Metric, metrics_of
from analysis.reading.study import Study
from study.cells import Cell
from tests.support.combined import Mix, World, normal_effects, study_of

CELLS = [Cell(task, language) for task in "ab" for language in ("de", "en", "fr")]
TARGET = "b/fr"


@pytest.fixture(scope="module")
def study() -> Study:
    """All sums of two but those with a/de, which gives most to the target beside b/de."""
    gives = dict(zip(CELLS, (0.12, 0.02, 0.01, 0.1, -0.05, -0.1), strict=True))
    mixes = [
        Mix(f"{one}+{other}", {one: 1.0, other: 1.0})
        for one, other in combinations(CELLS, 2)
        if CELLS[0] not in (one, other)
    ]

    def effect(source: Cell, target: Cell) -> float:
        return gives[source] if str(target) == TARGET else normal_effects(0.05)(source, target)

    return study_of(World(effect, mixes, items=800))


def accuracy(study: Study) -> Metric:
    (one,) = metrics_of(study)
    return one


def test_compositions_of_a_target_come_best_first(study: Study) -> None:
    table = combined.tried(study, TARGET, accuracy(study))
    assert table.height == 10
    assert table["delta"].is_sorted(descending=True)
    assert table["composition"][0] == "a/en+b/de"
    assert (table["low"] < table["delta"]).all()


def test_a_sum_that_was_not_tried_is_proposed(study: Study) -> None:
    sources = pl.DataFrame({"source": ["a/de", "b/de", "a/en"], "expected": [12.0, 10.0, 2.0]})
    table = combined.untried(study, TARGET, sources, accuracy(study))
    assert table.select("sum_of", "and").rows() == [("a/de", "b/de"), ("a/de", "a/en")]
    assert table["expected"].to_list() == pytest.approx([22, 14], rel=0.1)
    beyond = sources.with_columns(pl.col("expected") * 30)
    assert combined.untried(study, TARGET, beyond, accuracy(study)).height == 0  # more than all items would be right
    said = about_target(study, TARGET, None).text(3)
    assert said.index("Sources for b/fr") < said.index("Compositions for b/fr") < said.index("Sums not tried yet")


def test_without_compositions_there_are_sources_alone() -> None:
    plain = study_of(World(normal_effects(), items=100))
    assert about_target(plain, TARGET, None).beside == ()
    assert combined.tried(plain, TARGET, accuracy(plain)).height == 0
    assert combined.untried(plain, TARGET, pl.DataFrame(), accuracy(plain)).height == 0
