"""What the reference study's two headline figures are drawn from."""

from __future__ import annotations

import polars as pl
import pytest

from analysis.page import html
from analysis.page.charts import heat
from analysis.page.charts.effects import on_off
from analysis.page.charts.effects import pareto as trade
from analysis.page.charts.published import quadrants, runs
from analysis.page.charts.said import extremes
from analysis.page.document import _section
from analysis.page.drawing import Drawing, quadrant_rows, run_rows, share_rows
from analysis.page.sections import SECTIONS
from analysis.page.words import pp
from analysis.statistics import pareto, roles
from analysis.statistics.harm import on_off_task
from analysis.tables.registry import TABLES, Made, make_all
from tests.support.transfers import grid, study_of


def drawing(transfer: pl.DataFrame) -> Drawing:
    study = study_of(transfer)
    made = make_all((*pareto.TABLES, *roles.TABLES), study)
    frame = made["pareto"].frame
    assert frame is not None
    return Drawing(study, made, frame, page=False)


def test_a_point_per_run_that_has_targets_enough() -> None:
    few = (pl.col("source_language") == "de") & (pl.col("regime") == "MT-CL") & (pl.col("target_language") == "fr")
    rows = run_rows(drawing(grid().filter(~few)))
    assert (
        rows.height == 3 * 3 * 3
    )  # of three models' twelve sources, the German ones have two targets of their own task
    assert "de" not in rows["source_language"]
    about = dict(rows.select("model", pl.concat_str("model_family", "size")).unique().iter_rows())
    assert about == {"m0": "xS", "m1": "yM", "m2": "xL"}
    own = (pl.col("model") == "m1") & (pl.col("source_task") == "a") & (pl.col("source_language") == "en")
    mean = grid().filter(own, pl.col("regime") == "MT-CL")["delta"].mean()
    assert rows.row(by_predicate=own, named=True)["on_task"] == pytest.approx(mean)
    spec = runs(rows)
    assert spec["layer"][-1]["encoding"]["size"]["scale"]["domain"] == ["S", "M", "L"]  # type: ignore[index]


def test_quadrants_have_languages_and_tasks_that_give_and_take_raw() -> None:
    transfer = grid().filter(pl.col("source_language") != "zh")
    rows = quadrant_rows(drawing(transfer))
    assert set(rows["name"]) == {"de", "en", "fr", "a", "b", "c"}
    table = roles.language_roles(transfer)
    for row in rows.filter(pl.col("kind") == "language").iter_rows(named=True):
        own = table.row(by_predicate=pl.col("language") == row["name"], named=True)
        assert (row["donor"], row["recipient"]) == (own["donor"], own["recipient"])
    assert [panel["title"] for panel in quadrants(rows)["hconcat"]] == ["languages", "tasks"]  # type: ignore[attr-defined]


def test_what_is_level_is_not_told_as_highest_and_lowest() -> None:
    names, values = ["a", "b", "c", "d"], [-1.0, 2.0, -1.001, 2.0]
    told = extremes(pl.DataFrame({"name": names, "delta": values}), ["name"], "delta")
    assert told == "from −1.00 (c and 1 more) to +2.00 (b and 1 more)"
    level = pl.DataFrame({"name": names, "delta": [0.0, -1e-4, -0.0, 1e-9]})
    assert extremes(level, ["name"], "delta") == "each +0.00"
    assert extremes(level[:1], ["name"], "delta") == "+0.00 (a)"
    assert (pp(-0.001), html.number(-0.001, signed=True)) == ("+0.00 pp", "+0.00")


def test_no_rate_is_told_without_noise_and_no_claim_where_nothing_was_tested() -> None:
    cells = grid().filter(model="m0").with_columns(pl.lit(9).alias("n"), pl.lit(None, pl.Boolean).alias("worse"))
    tested = cells.with_columns(worse=pl.int_range(pl.len()) < 2)
    assert "none of it is tested" in str(heat.matrix(cells)["description"])
    assert "; 2 can be called worse." in str(heat.matrix(tested)["description"])
    table = on_off_task(grid())
    assert "% lose a point (by noise alone: not known)" in str(on_off(table)["description"])
    known = table.with_columns(harm_floor=pl.lit(30.0))
    assert "% lose a point (by noise alone: 30 %)" in str(on_off(known)["description"])
    trades = trade(pareto.pareto(grid()))
    assert "of other tasks" in str(trades)
    assert str(trades["description"]).startswith("36 sources (each model counted): ")
    assert "The best trades of each model: m0: " in str(trades["description"])


def test_figures_side_by_side_scroll_on_a_phone_and_do_not_widen_the_page() -> None:
    assert next(one for one in SECTIONS if one.figure == "quadrants").wide


def test_no_figure_of_runs_where_none_has_targets_enough() -> None:
    few = grid().filter(pl.col("target_language").is_in(["de", "en"]))
    found = drawing(few)
    assert not run_rows(found).height
    section = next(one for one in SECTIONS if one.figure == "runs")
    assert section.draw(found) is None
    assert "No run has 3 targets" in _section(section, found.made, {})
    assert section.draw(drawing(grid())) is not None


def test_shares_that_are_drawn_add_up_to_the_whole() -> None:
    """Those below 0 are drawn as 0: the labels of a row are of what is drawn."""
    columns = {"scope": "overall", "component": ["model", "source", "residual"], "share": [-20.0, 60.0, 60.0]}
    frame = pl.DataFrame(columns | {"share_se": [5.0, 6.0, None]})
    tables = ("variance_noiseless", "variance_crossed", "variance_nested")
    made = {name: Made(next(t for t in TABLES if t.name == name), frame) for name in tables}
    rows = share_rows(Drawing(study_of(grid()), made, frame, page=False))
    assert rows.filter(pl.col("design") == "crossed")["share"].to_list() == [0, 50, 50]
    assert rows.filter(pl.col("design") == "crossed")["share_se"].to_list() == [pytest.approx(100 / 24), 5, None]


@pytest.mark.parametrize(("task", "pixels"), [("a", 14), ("global_mmlu", 22), ("a_task_with_a_very_long_name", 44)])
def test_a_block_of_the_matrix_has_room_for_its_tasks_name(task: str, pixels: int) -> None:
    names = {end: pl.col(end).replace({"a": task}) for end in ("source_task", "target_task")}
    assert heat._roomy(grid().with_columns(**names)) == pixels
