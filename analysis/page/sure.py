"""The chapter of what may be claimed: of sources and tasks first, which see most; then of single cells."""

from __future__ import annotations

import polars as pl

from analysis.frames import KEYS, harmed
from analysis.page import html
from analysis.page.words import called, claims, count, visible
from analysis.statistics.significance import claimed
from analysis.tables.registry import Made

FAMILIES = {
    "source": "A source, on average over its other targets",
    "task on task": "A source task, on average over the targets of a task",
    "source on task": "A source, on some language of a task",
}


OTHERS = ("graded", "corpus", "wrong_language")  # tables that claim something of targets without an accuracy


def chapter(made: dict[str, Made], links: html.Links = html.NOWHERE) -> str:
    """Claims of groups, claims of cells; where there is no accuracy, where claims are."""
    others = [f"<em>{made[name].table.title}</em>" for name in OTHERS if made[name].frame is not None]
    if others and made["groups"].frame is None and made["significance"].frame is None:
        return (
            '<h2 id="sure">What is sure</h2><p>No target has an accuracy: what is sure, and of how many, is said for '
            f"each metric by itself under {', '.join(others)}, with q-values.</p>"
        )
    return (
        f'<h2 id="sure">What is sure</h2>{_groups(made["groups"])}{_cells(made)}{_called(made["significance"], links)}'
    )


def _groups(made: Made) -> str:
    if made.frame is None:
        return html.absent(made.table.title, made.reason)
    said, frame = [], made.frame
    for family, words in FAMILIES.items():
        rows = frame.filter(pl.col("family") == family)
        n = {side: int(rows[side].sum()) for side in ("worse", "better")}
        said.append(f"<li>{words}: of {rows.height:,}, {called(n | {'harmed': 0})}.</li>")
    shown = html.table(frame, made.table.columns, title=made.table.title)
    lost = frame.filter("worse")
    first = f"<p>Called worse:</p>{html.table(lost, made.table.columns, title=made.table.title)}" if lost.height else ""
    return (
        f'<h3>Sources and tasks</h3><p class="how"><strong>How to read it.</strong> {html.text(made.table.how)}</p>'
        f"<ul>{''.join(said)}</ul>{first}"
        + html.details(f"Numbers: groups ({frame.height:,} rows, from {made.table.rows})", shown)
        + "<h3>Single cells</h3>"
    )


def _cells(made: dict[str, Made]) -> str:
    tests, power = made["significance"], made["power"].frame
    if tests.frame is None:
        return f"<p>Single cells were not tested: {html.text(tests.reason)}.</p>"
    n, rows = claimed(tests.frame), tests.frame.filter(pl.col("regime") != "MT-ML")
    if not rows.height:
        return "<p>Single cells were not tested: no target but the adapters' own has been scored.</p>"
    printed = int(rows.select(harmed().sum()).item())
    about = "the adapters that were trained" if "this adapter" in rows["about"] else "training on these sources"
    said = (
        f"<p>Of {rows.height:,} transfer cells {printed:,} show a loss of a point or more; {claims(n)}. Claims are "
        f"about {about}. The 95 % interval of a cell reaches {_reach(rows)}. Read averages before single cells.</p>"
    )
    if power is None:
        return said
    return said + (
        f"<p>A cell must lose {visible(power)} to be called worse with 80 % chance, at "
        f"{_size(power, 'n_items', 'item')} and {_size(power, 'n_seeds', 'seed')}: what is not called worse is not "
        "shown to be safe. The table <code>power</code> has what more items or seeds would do.</p>"
    )


def _called(tests: Made, links: html.Links) -> str:
    """The cells that can be called worse or better, worst first; a number leads to its questions."""
    if tests.frame is None:
        return ""
    rows = tests.frame.filter(pl.col("regime") != "MT-ML", pl.col("worse") | pl.col("better")).sort("delta", *KEYS)
    if not rows.height:
        return ""
    columns = [*KEYS, "delta", "low", "high", "gains", "losses", "q_worse", "q_better", "harmed"]
    title = "Cells that can be called worse or better"
    shown = html.table(rows.select(columns), tests.table.columns, links=links, title=title)
    return html.details(f"{title} ({rows.height:,})", shown)


def _size(power: pl.DataFrame, column: str, what: str) -> str:
    """From the fewest of the models' to the most."""
    few, many = sorted(power[column])[0], sorted(power[column])[-1]
    return count(many, what) if few == many else f"{few:,} to {count(many, what)}"


def _reach(rows: pl.DataFrame) -> str:
    """From the narrowest tenth of the intervals to the widest."""
    half = (rows["high"] - rows["low"]) / 2
    ends = [float(half.quantile(q) or 0.0) for q in (0.1, 0.9)]
    return f"{ends[0]:.1f} to {ends[1]:.1f} pp to either side (eight cells of ten)"
