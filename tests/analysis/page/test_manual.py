"""The documentation's page of figures, tables and columns."""

from __future__ import annotations

import re
from pathlib import Path

from analysis.page import manual
from analysis.page.sections import SECTIONS
from analysis.tables import compare, pairs
from analysis.tables.registry import TABLES


def test_the_documentation_is_current() -> None:
    text = (Path(__file__).parents[3] / "docs" / "report_columns.md").read_text(encoding="utf-8")
    assert text == manual.markdown(), "python -m analysis.page.manual > docs/report_columns.md"


def test_it_has_every_figure_and_every_column() -> None:
    text = manual.markdown()
    for section in SECTIONS:
        assert f"`{section.name}`" in text
        assert section.how in text
    for table in (*TABLES, *compare.TABLES, *pairs.TABLES):
        assert f"### `{table.name}`" in text
        for name, what in table.columns.items():
            assert f"| `{name}` | {manual.escaped(what)} |" in text


def test_every_row_has_the_cells_of_its_head() -> None:
    """A bar within a cell ended it."""
    tables = re.findall(r"(?:^\|.*\n)+", manual.markdown(), re.MULTILINE)
    counts = [{len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()} for table in tables]
    assert counts == [{5}, *[{3}] * (len(tables) - 1)]  # of the figures, and of columns
    assert len(tables) > len(TABLES)
    assert manual.escaped("|ln|") == r"\|ln\|"
