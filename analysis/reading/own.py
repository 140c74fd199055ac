"""A user's own distances between languages: a CSV of `source, target, name, value`."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from study.errors import ConfigError

OPTION = "--distances"
COLUMNS = ("source", "target", "name", "value")
Own = Mapping[str, Mapping[tuple[str, str], float]]  # by name, of a source and a target language


def read_own(file: str, taken: frozenset[str]) -> Own:
    """Read it; ConfigError, with the line, for what cannot be used. Names that are `taken` are ours."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as text:
            rows = csv.DictReader(text)
            if lacking := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                problem = f"has no column {', '.join(lacking)}"
                raise ConfigError(OPTION, file, problem, f"its first line has to be {','.join(COLUMNS)}")
            found: dict[str, dict[tuple[str, str], float]] = {}
            for row in rows:
                where = f"{Path(file).name}, line {rows.line_num}"
                pair = (row["source"] or "").strip(), (row["target"] or "").strip()
                name, value = (row["name"] or "").strip(), _number(where, row["value"])
                if not (name and all(pair)):
                    raise ConfigError(
                        OPTION, where, "lacks a source, target or name", "fill it in, or leave the line out"
                    )
                if name in taken:
                    raise ConfigError(
                        OPTION, where, f"{name} is one that the report has itself", "give it another name"
                    )
                if found.setdefault(name, {}).setdefault(pair, value) != value:
                    raise ConfigError(OPTION, where, f"{name} of {' and '.join(pair)} stands twice", "keep one of them")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(OPTION, file, f"cannot be read ({error})", "name a CSV file in UTF-8") from error
    if not found:
        raise ConfigError(OPTION, file, "holds no distance", f"write lines of {','.join(COLUMNS)} below the first")
    return found


def _number(where: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(OPTION, where, f"{text!r} is no number", "write one as 0.25")
    return value
