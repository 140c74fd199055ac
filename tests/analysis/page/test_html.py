"""Text of data inside the page's scripts."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest

from analysis.page.document import page as document
from analysis.page.html import Links, figure, table
from analysis.reading.study import Study
from analysis.tables.registry import Made


class Scripts(HTMLParser):
    """The texts of a page's script elements, as HTML reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script":
            self.found.append(data)


def test_two_means_side_by_side_look_alike() -> None:
    shown = table(pl.DataFrame({"mean": [1.5], "mean_other": [1.5]}), {})
    assert shown.count('<td class="number up" data-value="1.5">+1.50</td>') == 2


@pytest.mark.parametrize("attack", ["<!-- x", "<!--<script>", "</script><img src=x>", "<script>", "a\u2028b", '"]}'])
def test_a_figures_data_are_read_as_they_were(attack: str) -> None:
    """`<!--` was written as `<\\!--`, which is no JSON: no figure of a study with such a name could be drawn."""
    spec = {"data": {"values": [{"name": attack}]}, "description": attack}
    page = Scripts(figure("x", spec))
    assert page.tags == ["figure", "div", "div", "figcaption", "script"]
    assert json.loads("".join(page.found)) == spec
    assert "<" not in "".join(page.found)


def test_only_a_cells_own_change_leads_to_its_questions(study: Study, made: dict[str, Made]) -> None:
    """What an epoch or a sample changed led to what the last adapter of all examples did."""
    cells = made["significance"].frame
    shown = made | {name: replace(made[name], frame=cells) for name in ("graded", "corpus")}
    page = document(study, shown, [], links=Links("items.html", lambda row: "items.html#there"))
    linked = set()
    for name, one in shown.items():
        _, _, after = page.partition(f'<caption class="heard">{one.table.title}</caption>')
        if 'href="items.html#there"' in after.partition("</table>")[0]:
            linked.add(name)
    assert linked == {"matrix", "graded"}
