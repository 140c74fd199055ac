"""The chapter that sets recipes beside one another, and the links between their pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from analysis.page import html
from analysis.page.words import WRONG, count, signed
from analysis.tables.registry import Made

SHOWN = "recipes"  # the table that the chapter has itself


def page_of(names: Sequence[str], name: str) -> str:
    """The file of a recipe's page: the first's is the report's own."""
    return "index.html" if name == names[0] else f"recipe-{name}.html"


def links(names: Sequence[str], here: str) -> str:
    """A line that says which recipe a page is about, and where the others are."""
    others = ", ".join(
        f'<a href="{html.text(page_of(names, name))}">{html.text(name)}</a>' for name in names if name != here
    )
    beside = f'; there are pages of {others}, and <a href="#recipes">all beside one another</a>' if others else ""
    return (
        f'<p class="soft">This page is of the recipe <strong>{html.text(here)}</strong>{" alone" * bool(others)}'
        f"{beside}.</p>"
    )


def chapter(made: Made) -> str:
    """Each recipe beside those before it: a sentence, and the numbers."""
    title = '<h2 id="recipes">Recipes</h2>'
    if made.frame is None:
        return title + html.absent(made.table.title, made.reason)
    lines = "".join(f"<li>{html.text(line)}</li>" for line in said(made.frame))
    head = f"Numbers: recipes ({made.frame.height:,} rows, from {made.table.rows})"
    shown = html.table(made.frame.filter(pl.col("family") == "regime"), made.table.columns, title=made.table.title)
    return (
        f'{title}<p class="how"><strong>How to read it.</strong> {html.text(made.table.how)}</p>'
        f'<ul class="lines">{lines}</ul>{shown}'
        + html.details(head, html.table(made.frame, made.table.columns, title=made.table.title))
    )


def line(made: Mapping[str, Made]) -> str:
    """The first of its lines, for the top of the page, and how many more there are; nothing of but one recipe."""
    table = made.get(SHOWN)
    first, *others = said(table.frame) if table is not None and table.frame is not None else ("",)
    more = f" {count(len(others), 'more comparison')} of recipes below." if others else ""
    return f"Recipes: {first}{more}" if first else ""


def said(frame: pl.DataFrame) -> Iterator[str]:
    """Each recipe beside each before it, model by model and metric by metric: the mean over transfer, and what may be
    called."""
    key = ["metric", "unit", "model", "recipe", "beside"]
    for (metric, unit, model, recipe, beside), rows in frame.group_by(key, maintain_order=True):
        whole = rows.filter(pl.col("family") == "regime", pl.col("regime") == "all")
        if not whole.height:
            continue
        row = whole.row(0, named=True)
        ends = "" if row["low"] is None else f" (95 % interval {signed(row['low'])} to {signed(row['high'])})"
        verdict = "worse" if row["worse"] else "better" if row["better"] else "no difference beyond chance"
        calls = "; ".join(
            f"of {count(rows.filter(pl.col('family') == family).height, family)} "
            f"{_called(rows.filter(pl.col('family') == family))}"
            for family in ("source", "cell")
        )
        yield (
            f"{model}: {recipe} beside {beside}, by {metric}: {signed(row['difference'])} {unit}{ends} over "
            f"{count(row['n_cells'], 'transfer cell')}, {verdict}; {calls}."
        )


def _called(rows: pl.DataFrame) -> str:
    worse, better = (int(rows[side].sum()) for side in ("worse", "better"))
    return f"{worse:,} worse and {better:,} better" + (f", {WRONG}" if worse or better else "")
