"""The chapter of the page that comes before any result: what to distrust, and what may be claimed of single cells."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.frames import harmed
from analysis.page import html
from analysis.page.headline import count, visible
from analysis.reading.study import Study
from analysis.statistics.health import overlap_checked
from analysis.statistics.significance import claimed
from analysis.tables.registry import Made
from study.store.records import FailureRecord


def chapter(study: Study, made: dict[str, Made]) -> str:
    """Health, single cells, what was left out, what failed."""
    parts = ['<h2 id="distrust">What to distrust</h2>', _health(study, made["health"]), _significance(made)]
    parts += [f"<p>{html.text(note)}</p>" for note in study.notes]
    if study.expected is not None:
        parts.append(f"<p>{study.done:,} of {study.expected:,} score units of the current config are done.</p>")
    if study.excluded:
        left_out = "".join(f"<li>{n:,} {html.text(why)}</li>" for n, why in study.excluded)
        parts.append(f"<p>Left out of the tables:</p><ul>{left_out}</ul>")
    if study.failures:
        parts.append(f"<h3>Failed units ({len(study.failures)})</h3>{_failed(study.failures)}")
    return "".join(parts)


def _failed(failures: Sequence[FailureRecord]) -> str:
    columns = {"kind": "kind of failure", "unit": "what failed", "message": "why", "attempts": "times tried"}
    rows = [(failure.kind, failure.unit, failure.message, str(failure.attempts)) for failure in failures]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return html.table(frame, columns, wrap=("unit", "message"))


def _health(study: Study, made: Made) -> str:
    if made.frame is None:
        return f"<p>Targets were not checked one by one: {html.text(made.reason)}.</p>"
    overlap = f"<p>{html.text(overlap_checked(study.records))}</p>"
    if not made.frame.height:
        return (
            f"<p>No target failed the checks (base above chance, varied answers, equal numbers of items).</p>{overlap}"
        )
    checks = made.frame.group_by("check").len().sort("check").rows()
    words = ", ".join(f"{check} ({n})" for check, n in checks)
    doubts = "1 doubt about a target" if made.frame.height == 1 else f"{made.frame.height} doubts about targets"
    return (
        f"<p><strong>{doubts}:</strong> {html.text(words)}. A change in such a score "
        f"says little about transfer; <code>--exclude-unhealthy</code> makes the report without them.</p>{overlap}"
        + html.details("Which targets", html.table(made.frame, made.table.columns, wrap=("detail",)))
    )


def _significance(made: dict[str, Made]) -> str:
    tests, power = made["significance"], made["power"].frame
    if tests.frame is None:
        return f"<p>Single cells were not tested: {html.text(tests.reason)}.</p>"
    n, rows = claimed(tests.frame), tests.frame.filter(pl.col("regime") != "MT-ML")
    if not rows.height:
        return "<p>Single cells were not tested: no target but the adapters' own has been scored.</p>"
    printed = int(rows.select(harmed().sum()).item())
    about = "the adapters that were trained" if "this adapter" in rows["about"] else "training on these sources"
    said = (
        f"<p>Of {rows.height:,} transfer cells {printed:,} show a loss of a point or more; {n['worse']:,} can be "
        f"called worse, {n['harmed']:,} of them by a point for certain, and {n['better']:,} better: of either at most "
        f"one in twenty is expected to be wrong. Claims are about {about}. The 95 % interval of a cell reaches "
        f"{_reach(rows)}. Read averages before single cells.</p>"
    )
    if power is None:
        return said
    return said + (
        f"<p>A cell must lose {visible(power)} to be called worse with 80 % chance, at "
        f"{_size(power, 'n_items', 'item')} and {_size(power, 'n_seeds', 'seed')}: what is not called worse is not "
        "shown to be safe. The table <code>power</code> has what more items or seeds would do.</p>"
    )


def _size(power: pl.DataFrame, column: str, what: str) -> str:
    """From the fewest of the models' to the most."""
    few, many = sorted(power[column])[0], sorted(power[column])[-1]
    return count(many, what) if few == many else f"{few:,} to {count(many, what)}"


def _reach(rows: pl.DataFrame) -> str:
    """From the narrowest tenth of the intervals to the widest."""
    half = (rows["high"] - rows["low"]) / 2
    ends = [float(half.quantile(q) or 0.0) for q in (0.1, 0.9)]
    return f"{ends[0]:.1f} to {ends[1]:.1f} pp to either side (eight cells of ten)"
