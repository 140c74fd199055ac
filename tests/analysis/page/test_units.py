"""What is said first where targets have no accuracy: each metric by itself, in its own unit."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from analysis.page import sure, units, words
from analysis.tables.registry import Made

CELL: words.Row = {
    **{"model": "one", "regime": "CT-CL", "metric": "rougeL", "unit": "points", "about": "the source"},
    **{"source_task": "a", "source_language": "de", "target_task": "b", "target_language": "en"},
    **{"delta": -5.0, "low": -9.0, "high": -2.0, "worse": False, "better": False, "harmed": False, "lowest": False},
}


def said_of(made: dict[str, Made], table: str, *rows: words.Row) -> list[str]:
    """The lines of a report that has one of these tables, of these rows."""
    alone = {name: replace(one, frame=None) for name, one in made.items()}
    alone[table] = replace(made[table], frame=pl.DataFrame(list(rows)))
    return [line for line in units.lines(alone) if line]


def text(source: str, target: str, low: float, high: float, model: str = "one") -> words.Row:
    ends = {"source_task": "news", "source_language": source, "target_task": "news", "target_language": target}
    return {"model": model, **ends, "difference": (low + high) / 2, "low": low, "high": high}


def test_metrics_are_counted_apart_and_own_cells_apart_from_transfer(made: dict[str, Made]) -> None:
    own = CELL | {"regime": "MT-ML", "delta": 7.0, "better": True}
    told = said_of(made, "graded", CELL | {"worse": True}, own, own | {"better": False}, CELL | {"metric": "f1"})
    assert len(told) == 1
    assert "of 1 cell by rougeL, 1 can be called worse and none better; most of all a/de on b/en, −5 points" in told[0]
    assert "; of 1 cell by f1, none can be called worse or better." in told[0]
    assert " Of 2 own cells 1 can be called better." in told[0]


def test_where_only_own_cells_are_scored_they_are_told_alone(made: dict[str, Made]) -> None:
    own = CELL | {"regime": "MT-ML", "better": True}
    assert said_of(made, "corpus", own) == ["Metrics of the whole corpus: Of 1 own cell 1 can be called better."]


def test_answers_in_another_language_are_a_loss_of_their_own(made: dict[str, Made]) -> None:
    rows = {name: value for name, value in CELL.items() if name not in ("metric", "unit")}
    (told,) = said_of(made, "wrong_language", rows | {"worse": True, "delta": -40.0})
    assert told.startswith(f"Answers in another language: of 1 cell by {units.IN_LANGUAGE}, 1 can be called worse")
    assert "a/de on b/en, −40 points (95 % interval −9 to −2)" in told


@pytest.mark.parametrize(("models", "counted"), [(["one"], "of 2 sources of texts 1 read"), (["one", "two"], "(each ")])
def test_raw_text_is_told_in_bits_of_the_own_texts_alone(
    made: dict[str, Made], models: list[str], counted: str
) -> None:
    rows = [
        text(*ends, model=model)
        for model in models
        for ends in (("de", "de", -0.4, -0.2), ("fr", "fr", -0.2, 0.2), ("de", "fr", 1.0, 2.0))
    ]
    (told,) = said_of(made, "text_loss", *rows)
    assert counted in told
    assert "−0.15 bits per byte on average" in told
    assert said_of(made, "text_loss", text("de", "fr", 1.0, 2.0)) == []


def test_what_is_sure_of_targets_without_an_accuracy_is_said_where_it_stands(made: dict[str, Made]) -> None:
    alone = {name: replace(one, frame=None) for name, one in made.items()}
    graded = alone | {"graded": replace(made["graded"], frame=pl.DataFrame([CELL]))}
    assert f"<em>{made['graded'].table.title}</em>" in sure.chapter(graded)
    assert "No target has an accuracy" not in sure.chapter(made)
