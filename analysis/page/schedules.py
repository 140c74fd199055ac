"""The chapter that says when to prefer several cells, another schedule, or staying near the base, over one cell."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.page import html
from analysis.page.words import Row, noise_beside, percent, real, signed, span
from analysis.statistics.combinations.schedules import ONE_SEED
from analysis.tables.registry import Made

SHOWN = "schedules"  # the table that the chapter has itself
SIDES = {"own": "on its own cells", "on_task": "on other languages of its tasks", "off_task": "on other tasks"}


def chapter(made: Made) -> str:
    """What each such source has more than what stands beside it: a sentence, and the numbers."""
    assert made.frame is not None
    lines = "".join(f"<li>{html.text(line)}</li>" for line in said(made))
    head = f"Numbers: {SHOWN} ({made.frame.height:,} rows, from {made.table.rows})"
    return (
        f'<h2 id="{SHOWN}">Several cells at once</h2><p class="how"><strong>How to read it.</strong> '
        f'{html.text(made.table.how)}{seeds(made)}</p><ul class="lines">{lines}</ul>'
        + html.details(head, html.table(made.frame, made.table.columns, title=made.table.title))
    )


def seeds(made: Made) -> str:
    """What is claimed where there is one seed."""
    assert made.frame is not None
    if ONE_SEED not in made.frame["about"]:
        return ""
    return f" There is one seed: what is said is about {ONE_SEED}; what another seed would change is in no interval."


def said(made: Made) -> Iterator[str]:
    """A line for each pair that was compared."""
    assert made.frame is not None
    for row in made.frame.iter_rows(named=True):
        parts = [part for side, words in SIDES.items() if (part := _side(row, side, words))]
        if parts:
            yield (
                f"{row['model']}: {row['source']}{_how(row)} beside {row['beside']}, by {row['metric']}: "
                f"{', '.join(parts)}; {row['tokens']:,} tokens in training beside "
                f"{row['beside_tokens']:,}; {percent(real(row['harm_rate']))} of these targets show a harm, beside "
                f"{percent(real(row['harm_rate_beside']))} ({noise_beside(row)})."
            )


def _how(row: Row) -> str:
    """How its cells were mixed and it was kept, where that is told."""
    near = ", ".join(f"{words} {real(row[name]):g}" for name, words in (("kl", "KL"), ("l2", "L2")) if row[name])
    told = "; ".join(str(part) for part in (row["mixing"], near) if part)
    return f" ({told})" if told else ""


def _side(row: Row, side: str, words: str) -> str:
    more, low, high = (row[f"{side}_{end}"] for end in ("more", "low", "high"))
    if more is None:
        return ""
    return f"{signed(real(more))} {row['unit']} {words}{span(low, high)}"
