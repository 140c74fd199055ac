"""Names in a figure's file that would lie upon another text."""

from __future__ import annotations

import re

import polars as pl
import pytest
import vl_convert

from analysis.page.apart import MANY, apart
from analysis.page.charts.published import quadrants
from analysis.page.charts.style import for_file
from tests.support.browser import OVERLAPS, browser

FIGURE = '<svg xmlns="http://www.w3.org/2000/svg"><g transform="translate(40,10)">{}</g></svg>'
NAMES = '<g class="mark-text role-mark layer_1_marks">{}</g>'


def text(words: str, x: float, y: float, more: str = "", turn: str = "") -> str:
    return f'<text transform="translate({x},{y}){turn}" font-size="10px" {more}>{words}</text>'


def left(*names: str, others: str = "") -> list[str]:
    """The words of the figure that remain."""
    return re.findall(r">([^<>]+)</(?:\w+:)?text>", apart(FIGURE.format(others + NAMES.format("".join(names)))))


def test_of_names_that_would_lie_upon_each_other_the_first_stays() -> None:
    assert left(text("one", 0, 0), text("two", 10, 5), text("three", 19, 0)) == ["one", "three"]
    assert left(text("one", 0, 0), text("two", 0, 11)) == ["one", "two"]
    assert left(text("one", 0, 0, 'text-anchor="end"'), text("two", 0, 0)) == ["one", "two"]
    assert left(text("one", 0, 0, 'text-anchor="middle"'), text("two", 0, 0)) == ["one"]
    assert left(text("one", 0, 0, 'opacity="0"'), text("two", 0, 0)) == ["one", "two"]  # the one is not seen


def test_names_make_way_for_what_is_written_elsewhere() -> None:
    """A title that stands upright lies upon what is beside it, not on what is above."""
    title = text("a long title", 0, 0, 'text-anchor="middle"', " rotate(-90)")
    assert left(text("beside", 5, 30), text("below", -4, 20), others=title) == ["a long title", "beside"]
    within = f'<g class="mark-text role-axis-label" transform="translate(100,0) translate(0,50)">{text("10", 0, 0)}</g>'
    assert left(text("name", 100, 50), text("other", 0, 50), others=within) == ["10", "other"]


def test_a_figure_in_which_nothing_lies_upon_another_and_the_signs_of_a_heat_map_stay_as_they_are() -> None:
    drawn = FIGURE.format(NAMES.format(text("one", 0, 0)))
    assert apart(drawn) is drawn
    signs = FIGURE.format(NAMES.format(text("×", 0, 0) * (MANY + 1)))
    assert apart(signs) is signs


@pytest.mark.processes
def test_a_browser_finds_no_name_upon_another() -> None:
    """Languages that give and take alike, beside one that does not."""
    ends = [0.0, 0.05, 0.1, 0.1, 8.0]
    rows = pl.DataFrame({"name": ["de", "en", "fr", "it", "pt"], "donor": ends, "recipient": ends})
    unknown = {f"{role}_{end}": None for role in ("donor", "recipient") for end in ("low", "high")}
    drawn = vl_convert.vegalite_to_svg(for_file(quadrants(rows.with_columns(kind=pl.lit("language"), **unknown), 560)))
    holder = '<div class="chart" data-spec="quadrants">{}</div>'
    with browser() as started:
        page = started.new_page()
        page.set_content(holder.format(drawn))
        assert page.evaluate(OVERLAPS) != []
        page.set_content(holder.format(apart(drawn)))
        assert page.evaluate(OVERLAPS) == []
        assert [name for name in rows["name"] if page.get_by_text(name, exact=True).count()] == ["de", "pt"]
