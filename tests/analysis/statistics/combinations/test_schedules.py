"""One adapter of several cells beside one of each: planted differences, tokens, and what the recipe says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from analysis.frames import NotComputable
from analysis.reading.recipes import divided
from analysis.reading.study import Study
from analysis.statistics.combinations.rivals import AS_MUCH
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
    assert (row["tokens"], row["beside_tokens"], row["about"]) == (20, 20, "the sources")
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
    (known,) = (one for one in study.grids if one.model == row["model"])
    of = known.sources.index(("a+b", "de+en"))
    assert row["harm_floor"] == pytest.approx(100 * known.floor[of].mean())
    assert 0 <= row["harm_least"] <= row["harm_rate"]


def test_both_sides_are_of_the_targets_that_both_have(study: Study) -> None:
    """A single source that was not scored on b/en, of which the joint one's gain there is not taken for more."""
    names = ["source_task", "source_language", "target_task", "target_language"]
    lacking = pl.DataFrame([("a", "de", "b", "en")], schema=names, orient="row")
    (row,) = schedules(replace(study, units=study.units.join(lacking, on=names, how="anti"))).iter_rows(named=True)
    delta = {tuple(one): value for *one, value in study.transfer.select(*names, "delta").iter_rows()}
    joint, singles = ("a+b", "de+en"), [("a", "de"), ("b", "en")]
    assert row["own"] == pytest.approx(delta[*joint, "a", "de"])
    assert row["own_beside"] == pytest.approx(np.mean([delta[*one, "a", "de"] for one in singles]))
    assert row["own_more"] == pytest.approx(row["own"] - row["own_beside"])
    both = [(cell.task, cell.language) for cell in World(effect).cells if cell != JOINT[1]]
    assert row["harm_rate"] == pytest.approx(100 * np.mean([delta[*joint, *one] <= -1 for one in both]))
    harmed = [delta[*source, *target] <= -1 for source in singles for target in both]
    assert row["harm_rate_beside"] == pytest.approx(100 * np.mean(harmed))


def test_what_was_kept_near_the_base_is_told_and_is_a_source_where_all_are(study: Study) -> None:
    table = schedules(near(study))
    assert table.height == 6 + 1
    assert set(table["kl"]) == {0.1}
    assert set(table["mixing"]) == {"reptile, temperature 5, K None, η None"}
    assert near(study).singles.transfer.equals(study.singles.transfer)


def test_what_has_read_prompts_too_is_beside_what_read_as_much_with_them(study: Study) -> None:
    """Of a/de, which read 10 tokens of examples and 10 of prompts, no other single source read as much."""
    records = tuple(
        replace(one, course=replace(one.course, tokens=replace(one.course.tokens, near=10)))
        if one.source == ("a/de",)
        else one
        for one in near(study, 4 / 14).records
    )
    table = schedules(replace(study, records=records))
    assert set(table.filter(source="a/de")["tokens"]) == {20}
    assert set(table.filter(beside=AS_MUCH)["source"]) == {"a/en"}


def test_some_that_were_kept_near_the_base_are_no_donors(study: Study) -> None:
    some = near(study, 4 / 14)  # the two seeds of a/de and a/en
    names = set(some.singles.transfer.select("source_task", "source_language").iter_rows())
    assert names == {("a", "fr"), ("b", "de"), ("b", "en"), ("b", "fr")}
    table = schedules(some)
    assert table.filter(beside="single sources of its cells").height == 3
    assert set(table.filter(beside=AS_MUCH)["source"]) == {"a/de", "a/en"}  # no single one read as much as the joint
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


GAIN = 0.1  # of what is wrong on every target


@pytest.fixture(scope="module")
def recipes() -> Study:
    """Four seeds by `mixed`, four by `longer`: there a single source reads as much as a joint one, which is better."""
    whole = study_of(World(effect, joint=[JOINT], items=800, seeds=(1, 2, 3, 4, 5, 6, 7, 8)))
    late = {one.adapter_id: one for one in whole.records if one.seed and one.seed > 4}
    joint = [name for name, one in late.items() if len(one.source) > 1]
    rows = set(whole.units.filter(pl.col("adapter_id").is_in(joint))["unit"])
    rng = np.random.default_rng(1)

    def better(right: np.ndarray, units: np.ndarray) -> np.ndarray:
        mine = np.isin(units, list(rows))[:, None] & (rng.random(right.shape) < GAIN)
        return np.where(mine, np.float32(1), right)

    panels = []
    for panel in whole.panels:
        right = better(panel.correct, panel.units)
        panels.append(replace(panel, correct=right, norm=right))
    seed = pl.col("seed")
    units = whole.units.with_columns(pl.when(seed > 4).then(seed - 4).otherwise(seed).alias("seed"))
    read = replace(whole.records[0].course.tokens, useful=20)
    records = [
        replace(one, course=replace(one.course, tokens=read)) if one.adapter_id in late else one
        for one in whole.records
    ]
    named = pl.DataFrame(
        [("longer" if one.adapter_id in late else "mixed", one.adapter_id) for one in records],
        schema=["recipe", "adapter_id"],
        orient="row",
    ).sort("recipe", descending=True)
    scores = pl.DataFrame(schema={"unit": pl.Int64})
    return divided(
        replace(whole, panels=tuple(panels), units=units, records=tuple(records), scores=scores, compositions=None),
        named,
    )


def test_a_recipe_stands_beside_the_first_and_the_best_single_source_of_as_many_tokens(recipes: Study) -> None:
    """All planted: what the recipe adds to the joint source, and what one cell alone does."""
    assert recipes.across is not None
    assert list(recipes.across.studies) == ["mixed", "longer"]
    tables = {name: schedules(replace(one, across=recipes.across)) for name, one in recipes.across.studies.items()}
    rows = {(name, row["beside"]): row for name, table in tables.items() for row in table.iter_rows(named=True)}
    same = "the same source by mixed"
    single = "single sources of its cells"
    assert rows.keys() == {
        ("mixed", single),
        ("mixed", AS_MUCH),
        ("longer", single),
        ("longer", same),
        ("longer", AS_MUCH),
    }
    more = {"own": 100 * GAIN * 0.45, "on_task": 100 * GAIN * 0.49}  # of what 0.5 and its own effect leave
    lost = {"own": -3.0, "on_task": -3.0}  # what the other cell costs, which one cell alone does not
    for side in ("own", "on_task"):
        for key, truth in (
            (("longer", same), more[side]),
            (("mixed", AS_MUCH), lost[side]),
            (("longer", AS_MUCH), more[side] + lost[side]),
        ):
            row = rows[key]
            assert row[f"{side}_low"] < truth < row[f"{side}_high"], (key, side)
            assert row[f"{side}_more"] == pytest.approx(truth, abs=1.5), (key, side)
            assert row[side] - row[f"{side}_beside"] == pytest.approx(row[f"{side}_more"])
    assert rows["longer", same]["own_low"] > 0
    assert (rows["mixed", single]["beside_tokens"], rows["mixed", AS_MUCH]["beside_tokens"]) == (20, 20)
    assert (rows["longer", same]["tokens"], rows["longer", same]["beside_tokens"]) == (20, 20)
