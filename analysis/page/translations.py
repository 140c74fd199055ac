"""The chapter that says whether adapters do on translated test sets what they do on the originals."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from analysis.page import html
from analysis.page.words import signed, span
from analysis.tables.registry import Made

SHOWN = "translated_tests"  # the table that the chapter has itself


def chapter(made: Made) -> str:
    """What each translated target tells other than its original: a sentence, and the numbers."""
    assert made.frame is not None
    lines = "".join(f"<li>{html.text(line)}</li>" for line in said(made.frame))
    head = f"Numbers: {SHOWN} ({made.frame.height:,} rows, from {made.table.rows})"
    return (
        f'<h2 id="{SHOWN}">{made.table.title}</h2><p class="how"><strong>How to read it.</strong> '
        f'{html.text(made.table.how)}</p><ul class="lines">{lines}</ul>'
        + html.details(head, html.table(made.frame, made.table.columns, title=made.table.title))
    )


def said(table: pl.DataFrame) -> Iterator[str]:
    """A line for each target of a model and metric: what its base scores, and where adapters differ most."""
    key = ["metric", "model", "target_task", "target_language"]
    for _, rows in table.group_by(key, maintain_order=True):
        first, counts = rows.row(0, named=True), {side: int(rows[side].sum()) for side in ("better", "worse")}
        most = rows.sort(pl.col("difference").abs(), descending=True, nulls_last=True).row(0, named=True)
        target = f"{first['target_task']}/{first['target_language']}"
        source, apart = f"{most['source_task']}/{most['source_language']}", span(most["low"], most["high"])
        yield (
            f"{first['model']}: by {first['metric']} the base scores {first['base']:.1f} on {target} and "
            f"{first['base_original']:.1f} on {first['original']} ({first['unit']}). Of {rows.height:,} sources "
            f"{counts['better']:,} change more for the better on the translation beyond chance, {counts['worse']:,} "
            f"less. Furthest apart is {source}: {signed(most['delta'])} there, {signed(most['delta_original'])} on the "
            f"original, a difference of {signed(most['difference'])}{apart}."
        )
