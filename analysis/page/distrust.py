"""The chapter of the page that comes before any result: what to distrust."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from analysis.page import html
from analysis.page.words import count, pp, sources_of
from analysis.reading.study import Study
from analysis.statistics.health import idle, overlap_checked, unchecked
from analysis.tables.registry import Made
from study.store.records import FailureRecord
from study.store.seen import Seen

NAMED = 5  # sources that a line names
INDEPENDENT = (
    "Where several items ask about one passage and the config does not say so (<code>tasks[].group_field</code>), each "
    "counts as a draw of its own, and intervals are too narrow."
)


def chapter(study: Study, made: dict[str, Made]) -> str:
    """Health, what was left out, what failed."""
    parts = ['<h2 id="distrust">What to distrust</h2>', _health(study, made["health"])]
    parts += _idle(study.transfer)
    parts += [f"<p>{html.text(note)}</p>" for note in (*study.notes, *_seen(study.seen))]
    if study.expected is not None:
        parts.append(f"<p>{study.done:,} of {study.expected:,} score units of the current config are done.</p>")
    if study.apart:
        others = " and ".join(f"{n:,} in <code>{html.text(table)}</code>" for n, table in study.apart)
        parts.append(
            f"<p>Of metrics whose units do not mix with points, score units have tables of their own: {others}.</p>"
        )
    if study.excluded:
        left_out = "".join(f"<li>{n:,} {html.text(why)}</li>" for n, why in study.excluded)
        parts.append(f"<p>Left out of the tables:</p><ul>{left_out}</ul>")
    if study.failures:
        parts.append(f"<h3>Failed units ({len(study.failures)})</h3>{_failed(study.failures)}")
    return "".join(parts)


def _idle(transfer: pl.DataFrame) -> Iterator[str]:
    """Sources that learned nothing to be seen where they were trained: what they do elsewhere is no transfer."""
    still, sources = idle(transfer)
    if not still.height:
        return
    several = transfer["model"].n_unique() > 1
    told = [
        f"{f'{model}: ' * several}{task}/{language} ({pp(delta)})"
        for model, task, language, delta in still.head(NAMED).iter_rows()
    ]
    more = f" and {still.height - NAMED:,} more" if still.height > NAMED else ""
    yield (
        f"<p><strong>{still.height:,} of {sources_of(sources, transfer)} did not gain on "
        f"what they were trained on:</strong> {html.text(', '.join(told))}{more}. What they do elsewhere says little "
        "of transfer. They may have learned too little: <code>recipe.epochs</code>, <code>recipe.learning_rate</code>, "
        "more examples; or the base could do it already.</p>"
    )


def _seen(seen: Seen) -> Iterator[str]:
    """What planning saw of the data that makes results mean less."""
    yield from (f"{note[:1].upper()}{note[1:]}." for note in seen.notes)
    for model, cells in seen.cut.items():
        told = ", ".join(f"{cell} ({n:,})" for cell, n in cells.items())
        yield f"Prompts are longer than {model} reads, and lost their beginning, in {told}."


def _failed(failures: Sequence[FailureRecord]) -> str:
    columns = {"kind": "kind of failure", "unit": "what failed", "message": "why", "attempts": "times tried"}
    rows = [(failure.kind, failure.unit, failure.message, str(failure.attempts)) for failure in failures]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return html.table(frame, columns, wrap=("unit", "message"), title="Failed units")


def _health(study: Study, made: Made) -> str:
    if made.frame is None:
        return f"<p>Targets were not checked one by one: {html.text(made.reason)}.</p>"
    overlap = f"<p>{html.text(overlap_checked(study.records))} {INDEPENDENT}</p>"
    if bare := unchecked(study):
        targets = count(bare, "target")
        overlap += f"<p>Of {targets} (each model counted) there are no items: nothing of this was checked there.</p>"
    if not made.frame.height:
        return (
            "<p>No target failed the checks (where there are options to choose among, the base above chance and varied "
            f"answers; equal numbers of items).</p>{overlap}"
        )
    checks = made.frame.group_by("check").len().sort("check").rows()
    words = ", ".join(f"{check} ({n})" for check, n in checks)
    doubts = "1 doubt about a target" if made.frame.height == 1 else f"{made.frame.height} doubts about targets"
    return (
        f"<p><strong>{doubts}:</strong> {html.text(words)}. A change in such a score "
        f"says little about transfer; <code>--exclude-unhealthy</code> makes the report without them.</p>{overlap}"
        + html.details(
            "Which targets", html.table(made.frame, made.table.columns, title=made.table.title, wrap=("detail",))
        )
    )
