"""The chapter that says what other data bring, and whether a combination of adapters brings more."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.page import html
from analysis.page.words import Row, signed, span
from analysis.tables.registry import Made

SHOWN = "data_or_adapter"  # the table that the chapter has itself
MOST = 12  # lines: the table has the others


def chapter(made: Made) -> str:
    """What each changed source has more on each target: a sentence, and the numbers."""
    assert made.frame is not None
    lines = list(said(made))
    more = [f"{len(lines) - MOST:,} more are in the table."] if len(lines) > MOST else []
    shown = "".join(f"<li>{html.text(line)}</li>" for line in [*lines[:MOST], *more])
    head = f"Numbers: {SHOWN} ({made.frame.height:,} rows, from {made.table.rows})"
    return (
        f'<h2 id="{SHOWN}">{made.table.title}</h2><p class="how"><strong>How to read it.</strong> '
        f'{html.text(made.table.how)}</p><ul class="lines">{shown}</ul>'
        + html.details(head, html.table(made.frame, made.table.columns, title=made.table.title))
    )


def said(made: Made) -> Iterator[str]:
    """A line for each changed source on each target, by each metric."""
    assert made.frame is not None
    for row in made.frame.iter_rows(named=True):
        parts = [
            _beside(row, "unchanged", f"beside {row['unchanged']} as it is"),
            _beside(row, "adapter", f"beside the best combination of adapters, {row['adapter']}"),
        ]
        ceiling, saw = row["delta_ceiling"], ", some of whose examples it has learned," if row["few_shot"] else ""
        own = "" if ceiling is None else f"; what is trained there itself has {signed(ceiling)}"
        told = ", ".join(part for part in parts if part) or "nothing stands beside it"
        yield (
            f"{row['model']}: {row['source_task']} in {row['source_language']} ({row['change']}) on "
            f"{row['target_task']}/{row['target_language']}{saw} has {signed(row['delta'])} {row['unit']} by "
            f"{row['metric']}: {told}{own}."
        )


def _beside(row: Row, what: str, words: str) -> str:
    gain, low, high = (row[f"gain_{what}{end}"] for end in ("", "_low", "_high"))
    return "" if gain is None or gain != gain else f"{signed(gain)}{span(low, high, what == 'unchanged')} {words}"
