"""One adapter of several cells beside one of each: planted differences, tokens, and what the recipe says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.frames import NotComputable
from analysis.reading.study import Study
from analysis.statistics.combinations.schedules import COLUMNS, schedules
from analysis.statistics.roles import task_roles
from study.cells import Cell, Source
from tests.support.combined import World, study_of
from tests.support.rows import record_of

JOINT = (Cell("a", "de"), Cell("b", "en"))


def effect(source: Cell, target: Cell) -> float:
    return 0.08 if source == target else 0.04 if source.task == target.task else -0.03


def near(study: Study, some: float = 1.0) -> Study:
    """The same in which so large a share of the adapters, the first ones, was kept near the base."""
    kept = {"keep_near_base": {"kl": 0.1, "l2": 0.0}, "mixing": {"order": "reptile", "weights": {"temperature": 5}}}
    count = int(some * len(study.records))
    records = [
        replace(one, recipe={**one.recipe, **(kept if i < count else {})}) for i, one in enumerate(study.records)
    ]
    return replace(study, records=tuple(records))


@pytest.fixture(scope="module")
def study() -> Study:
    return study_of(World(effect, joint=[JOINT], items=800))


def test_a_joint_source_stands_beside_its_single_ones(study: Study) -> None:
    """It moves a target by the sum of what its cells do, so by as much again as their mean."""
    table = schedules(study)
    assert table.columns == list(COLUMNS)
    (row,) = table.iter_rows(named=True)
    assert (row["source"], row["n_cells"], row["mixing"], row["kl"]) == ("a/de+b/en", 2, None, 0.0)
    assert (row["tokens"], row["beside_tokens"]) == (20, 20)
    truth = {"own": (0.08 - 0.03) * 100, "on_task": (0.04 - 0.03) * 100}
    for side, value in truth.items():
        assert row[f"{side}_beside"] == pytest.approx(value / 2, abs=1.5)
        assert row[f"{side}_low"] < value / 2 < row[f"{side}_high"]
        assert row[side] - row[f"{side}_beside"] == pytest.approx(row[f"{side}_more"])
    assert row["off_task"] is None  # each target is of one of its tasks
    singles = study.transfer.filter(source_task="a", source_language="de")
    both = [singles, study.transfer.filter(source_task="b", source_language="en")]
    rates = [100 * float((one["delta"] <= -1).mean()) for one in both]
    assert row["harm_rate_beside"] == pytest.approx(np.mean(rates))


def test_what_was_kept_near_the_base_is_told_and_is_a_source_where_all_are(study: Study) -> None:
    table = schedules(near(study))
    assert table.height == 6 + 1
    assert set(table["kl"]) == {0.1}
    assert set(table["mixing"]) == {"reptile, temperature 5, K None, η None"}
    assert near(study).singles.transfer.equals(study.singles.transfer)


def test_some_that_were_kept_near_the_base_are_no_donors(study: Study) -> None:
    some = near(study, 4 / 14)  # the two seeds of a/de and a/en
    names = set(some.singles.transfer.select("source_task", "source_language").iter_rows())
    assert names == {("a", "fr"), ("b", "de"), ("b", "en"), ("b", "fr")}
    assert schedules(some).height == 3
    assert task_roles(some.singles.transfer)["donor"].null_count() == 0


def test_single_sources_alone_have_no_such_table(study: Study) -> None:
    with pytest.raises(NotComputable, match="no source has several cells"):
        schedules(study_of(World(effect, items=40)))
    lacking = [one for one in study.records if one.source != ("b/en",)]
    (row,) = schedules(replace(study, records=(*lacking, record_of("elsewhere")))).iter_rows(named=True)
    assert (row["beside_tokens"], row["own_more"]) == (None, None)


def test_a_stage_stands_beside_its_parts_and_what_learned_the_same_at_once() -> None:
    """It does to a target what the source of its cells does, and half of what came before it."""
    own, before = Source.of([Cell("a", "de")]), Source.of([Cell("b", "en")])
    stage = replace(own, name="late", start=before)
    study = study_of(World(effect, joint=[JOINT], stages=[stage], items=800))
    table = schedules(study).filter(source="a/de@late")
    assert table["start"].unique().to_list() == ["b/en"]
    rows = {row["beside"]: row for row in table.iter_rows(named=True)}
    assert rows.keys() == {
        "single sources of its cells", "what it begins with", "its own cells alone", "its cells together",
    }  # fmt: skip
    assert {what: row["beside_tokens"] for what, row in rows.items()} == {
        "single sources of its cells": 20, "what it begins with": 10, "its own cells alone": 10,
        "its cells together": 20,
    }  # fmt: skip
    assert {row["tokens"] for row in rows.values()} == {20}
    assert {row["n_cells"] for row in rows.values()} == {2}
    half = 0.25 * (0.08 - 0.03)  # of what the other does, on a/de and b/en
    gains = {"what it begins with": half, "its own cells alone": half, "its cells together": -half}
    for what, gain in gains.items():
        row = rows[what]
        assert row["own_low"] < 100 * gain < row["own_high"], what
        assert row["own_more"] == pytest.approx(100 * gain, abs=1.5), what
    assert ("a@late", "de") not in set(study.singles.transfer.select("source_task", "source_language").iter_rows())
    regimes = study.transfer.filter(source_task="a@late").select("target_task", "target_language", "regime").rows()
    assert {(task, language) for task, language, regime in regimes if regime == "MT-ML"} == {("a", "de"), ("b", "en")}
