"""Pieces of a card: a YAML header, tables and text in which nothing from a store is markup."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl
import yaml

from analysis.page.html import number
from study.plain import plain

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#])")


def text(value: object) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _MARKUP.sub(r"\\\1", plain(str(value)).replace("\n", " "))


def header(keys: Mapping[str, object]) -> str:
    """What the Hub reads of a card; keys without a value are left out."""
    known = {key: value for key, value in keys.items() if value not in (None, [], "")}
    return f"---\n{yaml.safe_dump(known, sort_keys=False, allow_unicode=True)}---\n"


def table(frame: pl.DataFrame, signed: Sequence[str] = ()) -> str:
    """A frame as a table; numbers as the report prints them."""
    names = frame.columns
    right = [frame.schema[name].is_numeric() for name in names]
    lines = [_line(text(name.replace("_", " ")) for name in names), _line("---:" if one else "---" for one in right)]
    for row in frame.iter_rows(named=True):
        lines.append(_line(text(number("" if v is None else v, name in signed)) for name, v in row.items()))
    return "\n".join(lines) + "\n"


def _line(cells: object) -> str:
    return f"| {' | '.join(cells)} |"  # type: ignore[arg-type]


def folded(title: str, body: str) -> str:
    """A body that is folded until its title is clicked."""
    return f"<details><summary>{text(title)}</summary>\n\n{body}\n</details>\n"
