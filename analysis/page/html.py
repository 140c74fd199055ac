"""Small pieces of HTML: text, tables, figures. Everything that comes from data is escaped here."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from analysis.frames import HARM_PP
from analysis.page.charts.style import Spec

SIGNED = {
    "delta", "mean", "mean_other", "median", "donor", "recipient", "on_task", "off_task", "difference", "low", "high",
    "expected",
    *(role + kind + end for role in ("donor", "recipient") for kind in ("", "_adjusted") for end in ("_low", "_high")),
    "donor_adjusted", "recipient_adjusted",
}  # fmt: skip
MOST_ROWS = 300


@dataclass(frozen=True)
class Links:
    """Where the questions behind numbers are: their page, and of a table's row the place in it; None where none are."""

    page: str = ""
    of: Callable[[Mapping[str, object]], str | None] = lambda row: None


NOWHERE = Links()


def text(value: object) -> str:
    """Escaped text."""
    return html.escape(str(value), quote=True)


def number(value: object, signed: bool = False) -> str:
    """A value as the page prints it: two decimals, a real minus, a dash where it is unknown."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        small = 0 < abs(value) < 0.01 and not signed
        shown = f"{value:.2g}" if small else f"{round(value, 2) + 0.0:+.2f}" if signed else f"{value:.2f}"
        return shown.replace("-", "−")
    return str(value)


def table(
    frame: pl.DataFrame,
    columns: Mapping[str, str],
    sortable: bool = True,
    wrap: tuple[str, ...] = (),
    links: Links = NOWHERE,
    title: str = "Numbers",
) -> str:
    """A table, and what its columns mean; at most MOST_ROWS rows, and it says when there are more.

    `links` say of a row where the questions behind its Δ are.
    """
    heads = []
    for name in frame.columns:
        kind = ' class="number"' if frame.schema[name].is_numeric() else ""
        label = text(name.replace("_", " "))
        label = f'<button class="sort" type="button">{label}</button>' if sortable else label
        heads.append(f'<th scope="col"{kind} title="{text(columns.get(name, ""))}">{label}</th>')
    body = [
        "<tr>"
        + "".join(_cell(n, v, n in wrap, links.of(row) if n == "delta" else None) for n, v in row.items())
        + "</tr>"
        for row in frame.head(MOST_ROWS).iter_rows(named=True)
    ]
    more = (
        f'<p class="soft">{frame.height - MOST_ROWS:,} more rows are in the file.</p>'
        if frame.height > MOST_ROWS
        else ""
    )
    tall = " tall" if frame.height > 14 else ""
    return (
        f'<div class="scroll{tall}" tabindex="0" role="group" aria-label="{text(title)}"><table>'
        f'<caption class="heard">{text(title)}</caption><thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{more}{_meanings(frame, columns)}"
    )


def _meanings(frame: pl.DataFrame, columns: Mapping[str, str]) -> str:
    """What the columns mean, for who cannot hover over a head."""
    told = [
        f"<dt>{text(name.replace('_', ' '))}</dt><dd>{text(columns[name])}</dd>"
        for name in frame.columns
        if columns.get(name)
    ]
    return details("What the columns mean", f"<dl>{''.join(told)}</dl>") if told else ""


def _cell(name: str, value: object, wrap: bool, href: str | None = None) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        signed = name in SIGNED
        toned = signed and not name.endswith(("low", "high"))
        tone = (" down" if value <= HARM_PP else " up" if value > 0 else "") if toned else ""
        shown = number(value, signed)
        if href is not None:
            shown = f'<a href="{text(href)}" title="The questions behind it">{shown}</a>'
        return f'<td class="number{tone}" data-value="{value!r}">{shown}</td>'
    kind = ' class="wrap"' if wrap else ""
    return f"<td{kind}>{text(number(value))}</td>"


def details(title: str, body: str) -> str:
    """A body that is folded until its title is clicked."""
    return f"<details><summary>{text(title)}</summary>{body}</details>"


def figure(name: str, spec: Spec, wide: bool = False, links: Links = NOWHERE) -> str:
    """A chart to be drawn by the page's script; `wide` ones keep their size and scroll sideways on a phone.

    Where there are `links` a click on a cell opens its questions.
    """
    opens = f' data-opens="{text(links.page)}"' if links.page else ""
    chart = f'<div class="chart" role="img" aria-labelledby="said-{name}" data-spec="spec-{name}"{opens}></div>'
    if wide:
        chart = f'<div class="scroll" tabindex="0" role="group" aria-labelledby="said-{name}">{chart}</div>'
    return (
        f'<figure><div class="choices"></div>{chart}'
        f'<figcaption class="soft" id="said-{name}">{text(spec.get("description", name))}</figcaption></figure>'
        f'<script type="application/json" id="spec-{name}">{embed(spec)}</script>'
    )


def embed(spec: Spec) -> str:
    """JSON that is safe inside a script element: no `<` is in it, so it can open and close nothing (HTML, 4.12.1.3)."""
    packed = json.dumps(spec, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return packed.replace("<", "\\u003c")


def absent(title: str, reason: str) -> str:
    """The box that stands in place of a table or figure that could not be made, with the reason."""
    why = reason[:1].upper() + reason[1:]
    return f'<p class="absent"><strong>{text(title.rstrip("?"))}: not computed.</strong> {text(why)}.</p>'
