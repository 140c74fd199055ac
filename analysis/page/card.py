"""A study on a card, as a notebook shows it: what there is of it, what it says first, and what not to trust."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.frames import SOURCE, TARGET
from analysis.page import headline, html
from analysis.page.words import count
from analysis.reading.study import Study
from analysis.tables.asked import Tables


def card(study: Study, tables: Tables) -> str:
    """The card; of several recipes with what each says."""
    shown = "".join(f"<li>{html.text(line)}</li>" for line in said(study, tables))
    return f"<div><strong>{html.text(study.name)}</strong> <code>{html.text(study.origin)}</code><ul>{shown}</ul></div>"


def said(study: Study, tables: Tables) -> list[str]:
    """Its lines."""
    lines = [_size(study), _progress(study)]
    for recipe, made in tables.of.items():
        one = study.across.studies[recipe] if study.across and recipe else study
        about = (headline.overall(one, made), headline.distrust(one, made))
        lines += [f"{recipe}: {line}" if recipe else line for line in about if line]
    return [line for line in (*lines, *study.notes) if line]


def _size(study: Study) -> str:
    rows = study.transfer
    if study.published:
        models, targets = rows["model"], rows.select(TARGET)
        sources = rows.select(SOURCE)
    else:
        units = study.across.whole.units if study.across else study.units
        models, targets = units["model"], units.select(TARGET)
        sources = units.filter(units["kind"] == "trained").select(SOURCE)
    found = (count(one.n_unique(), what) for one, what in ((models, "model"), (sources, "source"), (targets, "target")))
    return ", ".join([*found, *_recipes(study)])


def _recipes(study: Study) -> Iterator[str]:
    if study.across:
        yield f"{count(len(study.across.studies), 'recipe')} ({', '.join(study.across.studies)})"


def _progress(study: Study) -> str:
    if study.published:
        return ""
    done = study.across.whole.done if study.across else study.done
    of = f" of {study.expected:,}" if study.expected is not None else ""
    return f"{done:,}{of} scores done, {count(len(study.failures), 'unit')} failed"
