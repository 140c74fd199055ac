"""The chapter of combinations: claims in words with intervals and rows, its figure, and nothing of it without any."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from analysis.page import combinations, files
from analysis.page.drawing import Drawing, composed_points
from analysis.page.sections import specs
from analysis.tables.registry import TABLES, make_all
from study.cells import Cell
from tests.support.combined import Mix, World, normal_effects, study_of

A, B = Cell("a", "en"), Cell("b", "de")
GRID = (0.0, 0.5, 1.0)
MIXES = [Mix("add[de]", {A: 1 - at, B: at}, "sum", at, "target", "de") for at in GRID]
WORLD = World(
    normal_effects(0.08),
    [*MIXES, Mix("both", {A: 1.0, B: 1.0})],
    held_out={("add[de]", at, Cell("a", "de")): 0.1 * at for at in GRID},
    tasks=("a", "b", "c"),
    items=800,
)


@pytest.mark.usefixtures("no_figures")
def test_claims_have_intervals_rows_and_how_often_they_are_wrong(tmp_path: Path) -> None:
    study = study_of(WORLD)
    written = files.write(study, tmp_path)
    page = written.index.read_text(encoding="utf-8")
    assert '<h2 id="combinations">Combinations</h2>' in page
    assert 'href="#combinations"' in page
    assert "spec-lambda_curve" in page
    made = make_all(TABLES, study)
    first, *lines = list(combinations.said(made))
    assert first in written.lines
    assert re.search(r"best single donor, by accuracy: [+−][\d.]+ pp \(95 % interval [+−][\d.]+ to ", first)
    assert "over 8 compositions and targets that no part was trained on" in first
    assert any(
        line.startswith("Beside the best of their own parts, by accuracy, method by method: sum") for line in lines
    )
    assert any(re.search(r"targets: sum −?[\d.]+ \(−?[\d.]+ to [\d.]+\), [\d.]+ pp\.", line) for line in lines)
    assert any("λ was chosen on held-out items for 1 composition and target" in line for line in lines)
    assert not any("language that was asked for" in line for line in lines)
    told = pl.DataFrame(
        [("base", 50.0), ("lead", 100.0), ("source", 10.0), ("source", 0.0), ("ceiling", 98.0), ("source", None)],
        schema=["role", "language_share"], orient="row",
    ).with_columns(language_known=99.0, target_task=pl.lit("a"), target_language=pl.lit("de"))  # fmt: skip
    answered = made | {"generation": replace(made["generation"], frame=told)}
    assert (
        "Answers in the language that was asked for, over 1 target: the base 50 %, sources of other cells 5 %, what "
        "learned the cell itself 98 %; of the right answers the same guess takes 99 % for that language."
    ) in combinations.said(answered)
    harm = next(line for line in lines if line.startswith("Harm: "))
    assert re.search(
        r"is shown by \d of 10 compositions and targets\. Over 2 compositions: .* on the same targets", harm
    )
    (untold,) = (line for line in lines if line.startswith("No λ was chosen"))
    assert "for 8 compositions and targets" in untold
    assert "add[de] 8 of 9 targets." in untold


def test_harm_is_beside_parts_only_where_these_were_scored() -> None:
    made = make_all(TABLES, study_of(WORLD))
    frame = made["compositions"].frame
    assert frame is not None
    for unknown, said in (
        ("both", "Over 1 composition of 2 (no part of the others"),
        (None, "targets. All are counted"),
    ):
        gone = pl.col("name") == unknown if unknown else pl.lit(True)
        part = frame.with_columns(pl.when(~gone).then("harm_avoided").alias("harm_avoided"))
        changed = made | {"compositions": replace(made["compositions"], frame=part)}
        assert said in next(line for line in combinations.said(changed) if line.startswith("Harm: "))


def test_compositions_are_open_marks_beside_the_points_of_sources() -> None:
    study = study_of(WORLD)
    made = make_all(TABLES, study)
    assert made["pareto"].frame is not None
    points = composed_points(Drawing(study, made, made["pareto"].frame, page=True))
    assert points is not None
    assert points["source"].to_list() == ["both"]  # of the other one target alone is known
    assert "diamond" in str(specs(study, made, page=True)["pareto"])


@pytest.mark.usefixtures("no_figures")
def test_a_study_that_combines_nothing_has_no_such_chapter(tmp_path: Path) -> None:
    page = files.write(study_of(World(normal_effects(), items=40)), tmp_path).index.read_text(encoding="utf-8")
    assert 'id="combinations"' not in page
    assert "What λ does" not in page
