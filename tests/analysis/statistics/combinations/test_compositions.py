"""Compositions beside parts and donors: planted gains, no luck of the best, and nothing of them in other tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from analysis.inference.best import best_elsewhere
from analysis.reading.study import Study
from analysis.statistics.combinations.compositions import COLUMNS, compositions
from analysis.tables.registry import TABLES, make_all
from study.cells import Cell, Source
from tests.support.combined import Mix, World, id_of, normal_effects, study_of

A, B = Cell("a", "de"), Cell("a", "en")
TARGET = Cell("a", "fr")


def nothing(source: Cell, target: Cell) -> float:
    return 0.0


@pytest.fixture(scope="module")
def study() -> Study:
    mixes = [
        Mix("better", {A: 1.0, B: 1.0}, more=lambda target: 0.25 if target == TARGET else 0.0),
        Mix("same", {A: 1.0, B: 0.5}),
        Mix("harms", {A: 1.0, B: -1.0}, more=lambda _: -0.2),
    ]
    return study_of(World(normal_effects(0.02), mixes, items=600, seeds=(1, 2)))


@pytest.fixture(scope="module")
def table(study: Study) -> pl.DataFrame:
    return compositions(study)


def test_two_compositions_of_one_seed_stay_two_rows(table: pl.DataFrame) -> None:
    assert table.columns == list(COLUMNS)
    assert table.group_by("name").len().sort("name").rows() == [("better", 6), ("harms", 6), ("same", 6)]
    assert set(table["n_seeds"]) == {2}
    assert set(table["rank"]) == {16}
    assert set(table["truncation"]) == {0.25}
    assert set(table["claim"]) == {None}


def test_a_gain_over_the_best_donor_is_found_and_a_harm_counted(table: pl.DataFrame) -> None:
    cell = pl.col("target_task") == TARGET.task, pl.col("target_language") == TARGET.language
    row = table.filter(*cell, name="better").row(0, named=True)
    assert row["better"]
    assert row["gain_donor_low"] > 10
    assert row["gain_part_low"] > 10
    assert row["delta"] == pytest.approx(row["delta_donor"] + row["gain_donor"])
    assert row["regime"] == "MT-CL"
    worst = table.filter(name="harms")
    assert worst["harmed"].all()
    assert set(worst["harmed_targets"]) == {6}
    assert (worst["harm_avoided"] < 0).all()
    assert worst["worse"].all()


def test_parts_and_delta_are_those_of_the_items(study: Study, table: pl.DataFrame) -> None:
    panel = next(one for one in study.panels if (one.task, one.language) == (TARGET.task, TARGET.language))
    units = study.units[panel.units.tolist()].with_row_index("row")
    assert study.compositions is not None
    ids = study.compositions.named.filter(name="better")["adapter_id"].to_list()
    mine = panel.norm[units.filter(pl.col("adapter_id").is_in(ids))["row"].to_list()]
    row = table.filter(name="better", target_task=TARGET.task, target_language=TARGET.language).row(0, named=True)
    assert row["delta"] == pytest.approx(100 * (mine - panel.norm[0]).mean(), abs=1e-4)
    own = units.filter(source_task=TARGET.task, source_language=TARGET.language)["row"].to_list()
    assert row["delta_ceiling"] == pytest.approx(100 * (panel.norm[own] - panel.norm[0]).mean(), abs=1e-4)
    even = panel.docs % 2 == 0
    parts = {}
    for part in (A, B):
        of = units.filter(source_task=part.task, source_language=part.language).sort("seed")["row"].to_list()
        parts[part] = panel.norm[of]
    found = []
    for seed, other in ((0, 1), (1, 0)):
        for half in (even, ~even):
            best = max((A, B), key=lambda part: parts[part][other][~half].mean())
            found.append(mine[seed][half].mean() - parts[best][seed][half].mean())
    assert row["gain_part"] == pytest.approx(100 * np.mean(found), abs=1e-3)


def test_compositions_are_in_no_score_of_sources(study: Study) -> None:
    """Donors, consistency, shares of variance and single cells are what they were without."""
    plain = replace(study, units=study.units.filter(pl.col("kind") != "composed"), compositions=None)
    kept = [table for table in TABLES if table.name not in ("compositions", "lambda_curve", "additivity", "geometry")]
    with_them, without = (make_all(kept, one) for one in (study, plain))
    for name, made in without.items():
        if made.frame is not None:
            assert with_them[name].frame is not None
            assert made.frame.equals(with_them[name].frame), name
    assert sum(made.frame is not None for made in without.values()) > 15


def test_a_study_without_compositions_has_none_of_their_tables() -> None:
    plain = study_of(World(nothing, items=40))
    made = make_all(TABLES, plain)
    for name in ("compositions", "lambda_curve", "additivity", "geometry"):
        assert made[name].reason == "the study puts no adapters together"


def test_the_best_single_donor_is_not_flattered_by_its_luck() -> None:
    """All donors are equal, and so is the composition: its gain is 0 on average, and its interval holds 0 as it says.

    On the same items the best of eleven is points above the others.
    """
    rows, flattered = [], []
    for seed in range(40):
        world = World(
            nothing, [Mix("mix", {A: 1.0, B: 1.0})], ("a", "b"), ("de", "en", "fr", "hi", "ru", "zh"), (1, 2), items=100
        )
        study = study_of(world, seed)
        rows.append(compositions(study))
        best = study.transfer.filter(pl.col("regime") != "MT-ML").group_by("target_task", "target_language")
        highest = best.agg(pl.col("delta").max().alias("highest"))
        both = rows[-1].join(highest, on=["target_task", "target_language"])
        flattered.append(float((both["delta"] - both["highest"]).mean()))
    gain = np.array([one["gain_donor"].mean() for one in rows])
    error = gain.std(ddof=1) / len(gain) ** 0.5
    assert abs(gain.mean()) < 3 * error
    assert error < 0.5
    assert np.mean(flattered) < -3
    together = pl.concat(rows)
    holds = ((together["gain_donor_low"] <= 0) & (together["gain_donor_high"] >= 0)).mean()
    assert 0.93 <= holds <= 0.99
    assert together["better"].mean() < 0.02


def test_the_best_is_found_elsewhere() -> None:
    """Three candidates of two seeds: whoever is best on the other half under the other seed, item by item."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(3, 2, 10)).astype(np.float32)
    first = np.arange(10) % 2 == 0
    found = best_elsewhere(values, first)
    for seed, other in ((0, 1), (1, 0)):
        for half in (first, ~first):
            best = values[:, other][:, ~half].mean(axis=1).argmax()
            np.testing.assert_array_equal(found[seed][half], values[best, seed][half])
    assert np.isnan(best_elsewhere(values, np.ones(10, bool))).all()


def test_of_a_stage_that_is_a_part_what_it_learned_before_counts() -> None:
    stage = Source((B,), name="after", start=Source((A,)))
    made = study_of(World(nothing, [Mix("of_stage", {B: 0.5, Cell("b", "fr"): 0.5})], stages=[stage], seeds=(1,)))
    assert made.compositions is not None
    (row,) = made.compositions.named.to_dicts()
    row["terms"][0] |= {"subject_id": id_of(stage, 1), "source": str(stage)}
    named = pl.DataFrame([row], schema=made.compositions.named.schema)
    table = compositions(replace(made, compositions=replace(made.compositions, named=named)))
    assert set(table["best_part"]) == {str(stage), "b/fr"}
    assert table["harm_avoided"].null_count() == 0
    regimes = {row["target_language"]: row["regime"] for row in table.filter(target_task="a").iter_rows(named=True)}
    assert regimes == {"de": "MT-ML", "en": "MT-ML", "fr": "MT-CL"}


def test_harm_is_counted_beside_parts_of_any_kind() -> None:
    """A joint source, and an adapter that was trained elsewhere: each harms everything, and the composition nothing."""
    joint, name = Source((A, Cell("b", "fr"))), "theirs"
    world = World(lambda source, _: -0.2 if source in joint.cells else 0.0, [Mix("none", {A: 0.0, B: 0.5})], seeds=(1,))
    made = study_of(replace(world, joint=[joint.cells]))
    assert made.compositions is not None
    ids = {str(joint): id_of(joint, 1), name: id_of(Source((A,)), 1)}
    elsewhere = pl.col("adapter_id") == ids[name]
    given = {"kind": pl.lit("existing"), **{end: pl.lit(None, pl.String) for end in ("source_task", "source_language")}}
    units = made.units.with_columns(
        pl.when(elsewhere).then(value).otherwise(key).alias(key) for key, value in given.items()
    )
    for part, subject in ids.items():
        (row,) = made.compositions.named.to_dicts()
        row["terms"] = [{"subject_id": subject, "source": part, "weight": 1.0}]
        named = pl.DataFrame([row], schema=made.compositions.named.schema)
        table = compositions(replace(made, units=units, compositions=replace(made.compositions, named=named)))
        assert set(table["best_part"]) == {part}
        assert set(table["harm_avoided"]) == {6 - table["harmed"].sum()}, part
