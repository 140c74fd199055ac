"""What every figure and every column of the report means, as Markdown.

`python -m analysis.page.manual > docs/report_columns.md` writes the page of the documentation.
"""

from __future__ import annotations

from typing import Never

from analysis.frames import Table
from analysis.page.sections import SECTIONS
from analysis.reading.rows import COLUMNS
from analysis.tables import compare, pairs, registry
from study.plain import say

HEAD = """# Figures, tables and columns of the report

Written by `python -m analysis.page.manual` from what the modules say of themselves; see [the report](report.md).
"""
ROWS = """## Rows

What [`analysis.open(store)`](python.md) gives beside the tables.
"""


def markdown() -> str:
    """The whole page."""
    tables: list[Table[Never]] = [*registry.TABLES, *compare.TABLES, *pairs.TABLES]
    return "\n".join((HEAD, _figures(), "## Tables\n", *map(_table, tables), ROWS, *map(_rows, COLUMNS)))


def escaped(text: str) -> str:
    """Text for a table of Markdown, where a bar would end the cell."""
    return text.replace("|", "\\|")


def _figures() -> str:
    rows = "".join(f"| `{s.name}` | {s.title} | `{s.table}` | {escaped(s.how)} |\n" for s in SECTIONS)
    return f"## Figures\n\n| figure | title | table | how to read it |\n|---|---|---|---|\n{rows}"


def _table(table: Table[Never]) -> str:
    rows = "".join(f"| `{column}` | {escaped(what)} |\n" for column, what in table.columns.items())
    how = f" {table.how}" if table.how else ""
    about = f"### `{table.name}`\n\n{table.title}. Made from: {table.rows}.{how}\n"
    return f"{about}\n| column | meaning |\n|---|---|\n{rows}"


def _rows(name: str) -> str:
    rows = "".join(f"| `{column}` | {escaped(what)} |\n" for column, what in COLUMNS[name].items())
    return f"### `.{name}`\n\n| column | meaning |\n|---|---|\n{rows}"


if __name__ == "__main__":
    say(markdown(), end="")
