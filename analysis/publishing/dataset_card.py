"""The card of a study's results as a data set of the Hub: a config for each Parquet file, what its columns mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import polars as pl

from analysis.publishing.effects import LEGEND
from analysis.publishing.markdown import folded, header, table, text

MEANING = (
    "Δ is 100 × (score with an adapter − score of the untouched base) on the same items, in percentage points, mean "
    f"over seeds. {LEGEND}\n"
)


@dataclass(frozen=True)
class Told:
    """A table: its rows, its columns (column, type and meaning), and what it is made from."""

    rows: int
    columns: pl.DataFrame
    about: str = ""


@dataclass(frozen=True)
class Results:
    """What the card is made of."""

    study: str
    lines: tuple[str, ...]  # what the report says first, what to distrust before all
    tables: Mapping[str, Told]
    data: tuple[str, ...]  # where the data of its tasks come from, a line each
    path: str | None  # what it is called on the Hub, where that is known
    licence: str | None


def dataset_card(results: Results) -> str:
    """The card, README.md of the results' folder."""
    configs = [
        {"config_name": name, "data_files": _file(name), **({"default": True} if name == "transfer" else {})}
        for name in results.tables
    ]
    tags = ["transfer-study", "evaluation"]
    named = {"license": results.licence, "pretty_name": f"Transfer study {results.study}"}
    own = f"These results: licence {results.licence}." if results.licence else "These results: no licence was stated."
    terms = (
        "The table items holds their numbers and the answers, not their texts, which are under licences of their own."
    )
    about = "\n".join(_table(name, told) for name, told in results.tables.items())
    load = f'Load one with `datasets.load_dataset("{results.path or "PATH"}", "transfer")`, or its file with any reader'
    return (
        f"{header(named | {'tags': tags, 'configs': configs})}# Transfer study {text(results.study)}\n\n"
        f"Written by crosscells {version('crosscells')}.\n\n"
        f"## What it says, and what not to trust\n\n{_list(results.lines)}\n"
        f"## Data and licences\n\n{_list((*results.data, own, terms))}\n"
        f"## Tables\n\n{load} of Parquet. {MEANING}\n{about}"
    )


def _file(name: str) -> str:
    return f"{name}.parquet"


def _table(name: str, told: Told) -> str:
    about = f"{text(told.about)}\n\n" if told.about else ""
    return f"### {name}\n\n{about}{_file(name)}, {told.rows:,} rows.\n\n{folded('Columns', table(told.columns))}"


def _list(lines: tuple[str, ...]) -> str:
    return "".join(f"- {text(line)}\n" for line in lines)
