"""The sentences at the top: what they name, and what they leave unnamed."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from analysis.page import distrust, headline, units, words
from analysis.reading.study import Study
from analysis.tables.registry import TABLES, Made, make_all
from tests.support.transfers import grid, study_of


def changed(made: dict[str, Made], table: str, **columns: pl.Expr) -> dict[str, Made]:
    """The tables with some columns of one replaced."""
    frame = made[table].frame
    assert frame is not None
    return made | {table: replace(made[table], frame=frame.with_columns(**columns))}


def line(lines: list[str], start: str) -> str:
    return next(one for one in lines if one.startswith(start))


@pytest.mark.parametrize(("chance", "named"), [(0.01, True), (0.02, False), (0.2, False)])
def test_first_and_last_are_named_where_noise_seldom_spreads_as_far(
    study: Study, made: dict[str, Made], chance: float, named: bool
) -> None:
    drawn = changed(made, "rank_stability", p_range=pl.lit(chance), p_range_adjusted=pl.lit(chance))
    said = line(headline.lines(study, drawn), "Tasks: ")
    assert (" gives more than " in said.replace("none gives more than another", "")) is named
    assert ("none gives more than another beyond chance" in said) is not named
    assert f"in {100 * (1 - (1 - chance) ** 4):.0f} % of studies" in said  # four rankings are looked at


def test_scores_that_are_alike_are_no_ranking(study: Study, made: dict[str, Made]) -> None:
    level = changed(made, "task_roles", donor=pl.lit(0.83), donor_adjusted=pl.lit(0.83))
    assert "none gives more than another (+0.83 pp each)" in line(headline.lines(study, level), "Tasks: ")


def test_rankings_of_raw_and_of_adjusted_scores_count_together(study: Study, made: dict[str, Made]) -> None:
    """Of two tasks nothing adjusted is known: the report has four rankings all the same."""
    of_tasks = pl.when(pl.col("kind") == "task")
    chances = {
        "p_range": of_tasks.then(0.2).otherwise(0.9),
        "p_range_adjusted": of_tasks.then(None).otherwise(pl.lit(0.2)),
    }
    lines = headline.lines(study, changed(made, "rank_stability", **chances))
    for start in ("Languages: ", "Tasks: "):
        assert "noise alone spreads one of the 4 rankings as far" in line(lines, start)
        assert "in 59 % of studies" in line(lines, start)


def test_harm_stands_beside_noise_and_a_bound(study: Study, made: dict[str, Made]) -> None:
    rates = {"harm_rate": pl.lit(40.0), "harm_floor": pl.lit(30.0), "harm_least": pl.lit(0.4)}
    said = line(headline.lines(study, changed(made, "regime_summary", **rates)), "Harm: ")
    assert "40 % of transfer cells show a loss of a point or more; noise alone would show 30 %; at least 0.4 %" in said
    none = changed(made, "regime_summary", **(rates | {"harm_least": pl.lit(0.0)}))
    assert "that any truly loses as much is not shown" in line(headline.lines(study, none), "Harm: ")


def claimed_of(made: dict[str, Made], table: str, cells: list[words.Row], **more: str) -> dict[str, Made]:
    """The tables with one of these transfer cells alone, each harmed for certain of its source and where it can be."""
    tests = made["significance"].frame
    assert tests is not None
    called = {"low": -9.0, "high": -2.0, "worse": True, "better": False, "harmed": True, "lowest": False}
    rows = tests.filter(pl.col("regime") == "CT-CL").head(len(cells))
    own = pl.DataFrame([called | {"about": "the source"} | more | cell for cell in cells])
    frame = rows.drop(own.columns, strict=False).hstack(own)
    return made | {table: replace(made[table], frame=frame)}


def cell_of(delta: float, **own: object) -> words.Row:
    ends: words.Row = {"source_task": "a", "source_language": "de", "target_task": "b", "target_language": "en"}
    return {"model": "one", "delta": delta} | ends | own


def test_the_deepest_cells_are_named_where_they_can_be_harmed_and_called_partly_luck(
    study: Study, made: dict[str, Made]
) -> None:
    cells = [cell_of(-5.0), cell_of(-9.0, lowest=True, target_task="luck"), cell_of(-6.0, source_language="fr")]
    said = line(headline.lines(study, claimed_of(made, "significance", cells)), "Harm: ")
    assert "Harmed for certain: a/fr on b/en, −6.00 pp (95 % interval −9.00 to −2.00); a/de on b/en, −5.00 pp" in said
    assert said.endswith(f"(−9.00 to −2.00). {units.PICKED}.")
    assert "luck/en" not in said
    every = [cell | {"lowest": True} for cell in cells]
    said = line(headline.lines(study, claimed_of(made, "significance", every)), "Harm: ")
    assert "Harmed for certain" not in said
    assert units.PICKED not in said


def test_of_several_models_the_cells_that_are_named_say_which_and_of_one_seed_that_it_is_these_adapters(
    study: Study, made: dict[str, Made]
) -> None:
    cells = [cell_of(-5.0, about="this adapter"), cell_of(-6.0, about="this adapter", model="two")]
    said = line(headline.lines(study, claimed_of(made, "significance", cells)), "Harm: ")
    assert "Harmed for certain of these adapters: two: a/de on b/en, −6.00 pp" in said
    assert "; one: a/de on b/en, −5.00 pp" in said
    found = claimed_of(made, "graded", [*cells, cell_of(-9.0, lowest=True)], metric="f1", unit="points")
    said = line(headline.lines(study, found), "Graded metrics: ")
    assert "most of all two: a/de on b/en, −6 points (95 % interval −9 to −2)" in said
    assert said.endswith(f"{units.PICKED}.")


def test_sources_that_learned_nothing_are_told_on_the_first_screen_and_named_below(
    study: Study, made: dict[str, Made]
) -> None:
    """Zero is no gain; what another cell lost is none of it."""
    own = (pl.col("source_language") == pl.col("target_language")) & (pl.col("source_task") == pl.col("target_task"))
    first = own & (pl.col("source_language") == "de") & (pl.col("source_task") == "names")
    delta = pl.when(first & (pl.col("model") == "small-3B")).then(-2.0).when(own).then(1.0).otherwise(-9.0)
    weak = replace(study, transfer=study.transfer.with_columns(delta=delta))
    assert "; 1 of 12 sources (each model counted) did not gain on what they were trained on; " in headline.distrust(
        weak, made
    )
    told = distrust.chapter(weak, made)
    assert "<strong>1 of 12 sources (each model counted) did not gain" in told
    assert "small-3B: names/de (−2.00 pp). What they do elsewhere" in told
    still = replace(study, transfer=study.transfer.with_columns(delta=pl.when(own).then(0.0).otherwise(1.0)))
    assert "12 of 12 sources (each model counted) did not gain" in headline.distrust(still, made)
    assert "numbers/en (+0.00 pp) and 7 more." in distrust.chapter(still, made)
    well = replace(study, transfer=study.transfer.with_columns(delta=pl.when(own).then(0.1).otherwise(-1.0)))
    assert "did not gain" not in headline.distrust(well, made) + distrust.chapter(well, made)


def test_claims_are_counted_in_words() -> None:
    assert words.claims({"worse": 0, "better": 0, "harmed": 0}) == "none can be called worse or better"
    assert words.claims({"worse": 0, "better": 3, "harmed": 0}).startswith("none can be called worse and 3 better: ")
    some = words.claims({"worse": 1200, "better": 0, "harmed": 7})
    assert some.startswith("1,200 can be called worse, 7 of them by a point for certain, and none better: of either ")


@pytest.mark.parametrize(
    ("smallest", "told"),
    [
        ([-12.4], "12 points or more"),
        ([-9.0, -14.0], "9 to 14 points or more, by model,"),
        ([None], "more points than"),
    ],
)
def test_what_can_be_seen_is_told_of_every_model(smallest: list[float | None], told: str) -> None:
    assert words.visible(pl.DataFrame({"smallest": smallest}, schema={"smallest": pl.Float64})).startswith(told)


def test_one_table_of_means_of_one_model_says_that_nothing_tells_how_sure_it_is() -> None:
    study = study_of(grid(models=1).with_columns(n_seeds=pl.lit(1), delta_se=pl.lit(None, pl.Float64)))
    lines = headline.lines(study, make_all(TABLES, study))
    assert lines[0].startswith("Distrust: no items are known")
    assert "who gives most is not known" in line(lines, "Languages: ")
    assert "how many noise alone would show is not known" in line(lines, "Harm: ")
