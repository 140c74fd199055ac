"""The report as one self-contained HTML file: opens with what a decision needs, then one figure at a time.

The charting library is embedded once; the page loads nothing from anywhere. Names and messages from the store are
escaped; tracebacks are shown as text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Never

import polars as pl

from analysis.frames import HARM, SEED, Table
from analysis.page import (
    beside,
    changes,
    combinations,
    distrust,
    html,
    recipes,
    schedules,
    sure,
    training,
    translations,
    words,
)
from analysis.page.assets import CSS, SCRIPT
from analysis.page.beside import NOTHING, Beside
from analysis.page.charts.style import Spec
from analysis.page.sections import SECTIONS, Section, specs
from analysis.reading.study import Study
from analysis.tables.registry import Made

TITLE = "<title>Transfer report: "  # among a page's first characters
GLOSSARY = {
    "cell": "a task in a language, written task/language",
    "source, target": "the cell an adapter is trained on; the cell it is scored on",
    "adapter": training.LORA,
    "Δ": "100 × (adapter's score − base score) in percentage points (pp), on the same items, averaged over seeds",
    "MT-ML": "same task, same language: the source itself; it is not transfer and not in the averages of transfer",
    "MT-CL": "same task, other language",
    "CT-ML": "other task, same language",
    "CT-CL": "task and language both differ",
    "harm": HARM,
    "positive transfer": "Δ > 0",
    "worse, better": "a cell whose Δ is below (above) 0 beyond chance: among all cells called so in a model, at most "
    "one in twenty is expected to be called so wrongly (q ≤ 0.05)",
    "harmed for certain": f"the same, of a true {HARM}",
    "noise floor": "the harm rate that would be printed if no cell had any effect",
    "donor, recipient": "a language or task that helps others when it is trained on; one that gains when others are",
}

OWN_CHAPTER = ("groups", recipes.SHOWN, schedules.SHOWN, changes.SHOWN, translations.SHOWN, *combinations.SHOWN)
FIRST = (  # on a phone the first of them are seen
    *("regime", "mean", "low", "high", "harm_rate"),
    *("harm_floor", "harm_least", "positive_rate", "median", "n"),
)
LINKED = ("matrix", "graded")  # whose rows are cells: another Δ has other questions behind it


def page(
    study: Study,
    made: dict[str, Made],
    lines: list[str],
    compared: Beside = NOTHING,
    links: html.Links = html.NOWHERE,
) -> str:
    """The whole document; `compared` sets other studies beside it, `links` say where a cell's questions are."""
    drawn = specs(study, made, page=True)
    of_recipe = recipes.links(list(study.across.studies), str(study.recipe)) if study.across else ""
    body = "".join(
        (
            distrust.chapter(study, made),
            recipes.chapter(made[recipes.SHOWN]) if study.across else "",
            sure.chapter(made, links),
            combinations.chapter(made, _sections(made, drawn, combinations.TABLES, links))
            if study.compositions
            else "",
            schedules.chapter(made[schedules.SHOWN]) if _is_made(made, schedules.SHOWN) else "",
            changes.chapter(made[changes.SHOWN]) if _is_made(made, changes.SHOWN) else "",
            translations.chapter(made[translations.SHOWN]) if _is_made(made, translations.SHOWN) else "",
            beside.chapter(compared),
            _numbers_of(made, drawn, links),
            _tables(made | compared.made),
        )
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">
{TITLE}{html.text(study.name)}</title><style>{CSS}</style></head><body>
<header><h1>Transfer report: {html.text(study.name)}</h1>
<p class="soft">What training on one task in one language did to the model's score on every other.</p>
{_banner(study)}{of_recipe}<nav aria-label="Chapters">{_chapters(study, made, compared)}</nav></header>
<main>{_opening(study, made, lines)}{body}</main>
<footer>{_foot(study)}</footer>
<script>{_library()}</script><script>{SCRIPT}</script></body></html>
"""


def _is_made(made: Mapping[str, Made], table: str) -> bool:
    return table in made and made[table].frame is not None


def _chapters(study: Study, made: Mapping[str, Made], compared: Beside) -> str:
    """Links to the chapters that there are; where there is no accuracy, not to those that cannot be."""

    def is_folded(section: Section) -> bool:
        return not _is_made(made, "regime_summary") and not _is_made(made, section.table)

    chapters = [
        ("distrust", "What to distrust"),
        *([("recipes", "Recipes")] if study.across else []),
        ("sure", "What is sure"),
        *([("combinations", "Combinations")] if study.compositions else []),
        *([(schedules.SHOWN, "Several cells at once")] if _is_made(made, schedules.SHOWN) else []),
        *([(changes.SHOWN, "Data or adapter?")] if _is_made(made, changes.SHOWN) else []),
        *([(translations.SHOWN, "Translated tests")] if _is_made(made, translations.SHOWN) else []),
        *([("compare", beside.title(compared))] if compared.made else []),
        *((s.name, s.chapter) for s in SECTIONS if s.chapter and s.table in made and not is_folded(s)),
        ("more", "More numbers"),
        ("tables", "Tables"),
    ]
    return "".join(f'<a href="#{name}">{html.text(title)}</a>' for name, title in chapters)


@cache
def _library() -> str:
    """The charting library as one script, made once per process."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace("</script", "<\\/script")


def _banner(study: Study) -> str:
    if not study.trial_run:
        return ""
    return (
        '<p class="banner"><strong>Trial run.</strong> This store was made with a limit on examples and items: '
        "it shows that everything works, its numbers mean little.</p>"
    )


def _opening(study: Study, made: dict[str, Made], lines: list[str]) -> str:
    items = "".join(f"<li>{html.text(line)}</li>" for line in lines)
    glossary = GLOSSARY | {"adapter": training.meaning(study)}
    terms = "".join(f"<dt>{html.text(k)}</dt><dd>{html.text(v)}</dd>" for k, v in glossary.items())
    summary = made["regime_summary"]
    numbers = (
        html.table(summary.frame.select(FIRST), summary.table.columns, title=summary.table.title, sortable=False)
        if summary.frame is not None
        else html.absent(summary.table.title, summary.reason)
    )
    return (
        '<h2 id="short">In short</h2><p>For each model, one adapter was trained per source cell (a task in a language) '
        "and scored on every target cell beside the untouched model. The change in score, Δ, is given in percentage "
        f'points (pp), or in the unit of a metric.</p><ul class="lines">{items}</ul>{numbers}'
        f'<p class="soft">{words.ROWS if summary.frame is not None else ""}'
        f"{''.join(f' {html.text(told)}' for told in (training.sentence(study), training.assumed(study)) if told)}</p>"
        f"{html.details('What the words mean', f'<dl>{terms}</dl>')}"
    )


def _sections(made: dict[str, Made], drawn: dict[str, Spec], tables: Collection[str], links: html.Links) -> str:
    """The figures of these tables."""
    return "".join(_section(section, made, drawn, links) for section in SECTIONS if section.table in tables)


def _numbers_of(made: dict[str, Made], drawn: dict[str, Spec], links: html.Links) -> str:
    """Chapters of accuracies, then all other numbers; these first where no target has an accuracy."""
    shown, plain = _sections(made, drawn, [m for m in made if m not in combinations.TABLES], links), _plain(made, links)
    if made["regime_summary"].frame is not None:
        return shown + plain
    return plain + html.details("Chapters of accuracies, which no target here has", shown)


def _section(section: Section, made: dict[str, Made], drawn: dict[str, Spec], links: html.Links = html.NOWHERE) -> str:
    chapter = f'<h2 id="{section.name}">{html.text(section.chapter)}</h2>' if section.chapter else ""
    title = f"<h3>{html.text(section.title)}</h3>"
    behind = made[section.table]
    if behind.frame is None or section.name not in drawn:
        return f"{chapter}{html.absent(section.title, behind.reason or section.few)}"
    is_cells = section.name == "matrix"
    chart = html.figure(section.name, drawn[section.name], section.wide, links if is_cells else html.NOWHERE)
    if is_cells and links.page:
        where = f'<a href="{html.text(links.page)}">The questions that each cell gained and lost</a>'
        chart += f"<p>{where}: click a cell here, or a number in the table.</p>"
    how = f'<p class="how"><strong>How to read it.</strong> {html.text(section.how)}</p>'
    return f"{chapter}{title}{how}{chart}{_numbers(behind.table, behind.frame, _of(behind, links))}"


def _of(made: Made, links: html.Links) -> html.Links:
    """Where the questions behind a table's Δ are: nowhere where they are not those of a cell's final adapters."""
    return links if made.table.name in LINKED else html.NOWHERE


def _numbers(table: Table[Never], frame: pl.DataFrame, links: html.Links) -> str:
    head = f"Numbers: {table.name} ({frame.height:,} rows, from {table.rows})"
    return html.details(head, html.table(frame, table.columns, title=table.title, links=links))


def _plain(made: dict[str, Made], links: html.Links) -> str:
    """The tables that no figure shows, each with its words on how to read it."""
    parts, lacking = [], []
    has_chapter = {*OWN_CHAPTER} - ({*combinations.SHOWN} if not _is_made(made, "compositions") else set())
    for table in (m for m in made.values() if m.table.how and m.table.name not in has_chapter):
        if table.frame is None:
            lacking.append(html.absent(table.table.title, table.reason))
            continue
        how = f'<p class="how"><strong>How to read it.</strong> {html.text(table.table.how)}</p>'
        shown = html.table(table.frame, table.table.columns, title=table.table.title, links=_of(table, links))
        parts.append(f"<h3>{html.text(table.table.title)}</h3>{how}{shown}")
    why = html.details(f"Not computed, and why ({len(lacking):,})", "".join(lacking)) if lacking else ""
    return '<h2 id="more">More numbers</h2>' + "".join(parts) + why


def _tables(made: dict[str, Made]) -> str:
    rows = [
        {
            "table": m.table.name,
            "what": m.table.title,
            "made from": m.table.rows,
            "rows": None if m.frame is None else m.frame.height,
            "note": "" if m.frame is not None else f"not computed: {m.reason}",
        }
        for m in made.values()
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    listed = html.table(frame, {}, sortable=False, wrap=("what", "made from", "note"), title="All tables")
    return (
        '<h2 id="tables">Tables</h2><p>Each is beside this page: <code>tables/NAME.csv</code> and <code>.parquet</code>'
        f", and <code>tables/columns.csv</code> says what every column means.</p>{listed}"
    )


def _foot(study: Study) -> str:
    where = study.origin.rstrip("/").rsplit("/", 1)[-1]
    return (
        f"<p>Made from <code>{html.text(where)}</code>. Random draws start from seed {SEED}. Everything on this page "
        "works without a network.</p>"
    )
