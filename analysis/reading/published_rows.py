"""What may be wrong in a published table: the first fault by its line and column, with the value and how to mend it.

Invariant: what gets through is a table that a study could have given; nothing is guessed, left out or put right.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Never

import polars as pl

from analysis.reading.transfer import ERRORS, MEASURES, STATISTICS
from study.cells import regime
from study.errors import ConfigError

KEYS = ["model_name", "fine_tuned_dataset", "fine_tuned_language", "eval_dataset", "eval_language"]
MEANS = [f"{measure}_mean" for measure in MEASURES]
SCORES = [name for name in MEANS if not name.startswith("delta")]
SPREADS = [name for name in (*STATISTICS, *ERRORS) if name not in MEANS]
NUMBERS = ["model_size", "n_seeds", *STATISTICS, *ERRORS]
NO_NAMES = ("n/a", "nan", "null", "none", "-", "?")
UNSEEN = r"\p{C}"  # control characters, spaces of no width
LINE = "line"  # of the file, the header being line 1
ROUNDED = 0.0101  # pp: how far Δ may be from its two scores, which may have been rounded to four decimals
ERROR_OFF = 0.02  # share by which a standard error may differ from sd/√n
MOST = 1e6


def _refuse(path: str | Path, where: str, value: object, problem: str, fix: str) -> Never:
    raise ConfigError(f"{Path(path).name}, {where}", value, problem, fix)


def rows_of(path: str | Path, wanted: Sequence[str]) -> pl.DataFrame:
    """The wanted columns as text, and `line`; ConfigError for what is no such table."""
    file = Path(path)
    if not file.is_file():
        raise ConfigError("published table", path, "no such file", "name a CSV, such as a study's transfer_results.csv")
    header, body = _fields(file)
    lacking = [name for name in wanted if name not in header]
    if lacking:
        fix = "give a file with the reference study's columns, named in its first line"
        _refuse(path, "line 1", ", ".join(lacking), "columns are lacking", fix)
    twice = [name for name in wanted if header.count(name) > 1]
    if twice:
        _refuse(path, "line 1", ", ".join(twice), "a column stands there twice", "keep one of the two")
    if not body:
        _refuse(path, "line 2", "", "there are no rows under the header", "give a row per source and target")
    for number, line in body:
        if len(line) != len(header):
            what = f"{len(line)} fields where the header has {len(header)}"
            fix = "the file may be cut off, or a number have a decimal comma: get it anew, or mend the line"
            _refuse(path, f"line {number}", ",".join(line)[:60], what, fix)
    columns = {name: [line[at].strip() for _, line in body] for name in wanted for at in [header.index(name)]}
    return pl.DataFrame(columns).with_columns(pl.Series(LINE, [number for number, _ in body]))


def _fields(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and the fields of every line that has any, with its number."""
    reader = csv.reader(io.StringIO(_text(file), newline=""), strict=True)
    try:
        lines = [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        _refuse(file, f"line {reader.line_num}", error, "it cannot be read as a CSV", "close its quotation marks")
    if not lines:
        _refuse(file, "line 1", "", "the file is empty", "give a CSV with the reference study's columns")
    header = [name.strip() for name in lines[0][1]]
    for mark, called in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and mark in header[0]:
            fix = "write it with commas between columns and points in numbers"
            _refuse(file, "line 1", header[0][:40], f"columns are parted by {called}", fix)
    return header, lines[1:]


def _text(file: Path) -> str:
    fix = "give the CSV itself, in UTF-8"
    try:
        data = file.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError("published table", file, f"it cannot be read ({error})", "get the file anew") from error
    if b"\0" in data:
        _refuse(file, f"byte {data.index(0)}", "\\0", "this is no text", fix)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"0x{data[error.start]:02x}"
        line = data[: error.start].count(b"\n") + 1
        _refuse(file, f"line {line}", byte, "this byte is not UTF-8 (Latin-1, it may be, or no text)", fix)


def checked(path: str | Path, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with their types, when nothing is wrong with them; ConfigError names the first fault otherwise."""
    for name in KEYS:
        blank = (pl.col(name) == "") | pl.col(name).str.to_lowercase().is_in(NO_NAMES)
        _first(path, rows, blank, name, "that names nothing", "say which it is, or leave the row out")
        unseen = pl.col(name).str.contains(UNSEEN)
        _first(path, rows, unseen, name, "a character that cannot be seen is in it", "write the name without it")
    _check_regimes(path, rows)
    typed = _typed(path, rows)
    for name in (*MEANS, "n_seeds"):
        fix = "leave the row out where nothing was measured"
        _first(path, typed, pl.col(name).is_null(), name, "the number is lacking", fix)
    _check_ranges(path, typed)
    _check_repeats(path, typed)
    _check_deltas(path, typed)
    _check_errors(path, typed)
    _check_sizes(path, typed)
    return typed.with_columns(pl.col("n_seeds").cast(pl.Int64)).drop(LINE)


def _first(path: str | Path, rows: pl.DataFrame, bad: pl.Expr, column: str, problem: str, fix: str) -> None:
    """Refuse the first row that is bad in a column."""
    found = rows.filter(bad).head(1)
    if found.height:
        row = found.row(0, named=True)
        value = "" if row[column] is None else row[column]
        _refuse(path, f"line {row[LINE]}, {column}", value, problem, fix)


def _typed(path: str | Path, rows: pl.DataFrame) -> pl.DataFrame:
    for name in NUMBERS:
        text = pl.col(name)
        value = text.cast(pl.Float64, strict=False)
        bad = (text != "") & (value.is_null() | ~value.is_finite() | (value.abs() > MOST))
        fix = "write a number with a decimal point, or nothing where a spread is not known"
        _first(path, rows, bad, name, "that is no number to reckon with", fix)
    return rows.with_columns(pl.col(name).cast(pl.Float64, strict=False) for name in NUMBERS)


def _check_ranges(path: str | Path, rows: pl.DataFrame) -> None:
    whole = (pl.col("n_seeds") >= 1) & (pl.col("n_seeds") == pl.col("n_seeds").round(0))
    _first(path, rows, ~whole, "n_seeds", "that is no number of seeds", "write a whole number, 1 or more")
    _first(path, rows, pl.col("model_size") <= 0, "model_size", "that is no size", "write billions of parameters")
    for name in SPREADS:
        _first(path, rows, pl.col(name) < 0, name, "a spread cannot be below 0", "write its size, or nothing")
    for name in SCORES:
        outside = ~pl.col(name).is_between(0, 1)
        _first(path, rows, outside, name, "a score is a proportion, from 0 to 1", "divide percentages by 100")


def _check_deltas(path: str | Path, rows: pl.DataFrame) -> None:
    for kind in ("score", "score_norm"):
        name, made = f"delta_{kind}_mean", pl.col(f"{kind}_mean") - pl.col(f"{kind}_base_mean")
        off = (pl.col(name) - 100 * made).abs() > ROUNDED
        fraction = off & ((pl.col(name) - made).abs() <= ROUNDED / 100)
        points = "write it in percentage points: 100 × (score − base)"
        _first(path, rows, fraction, name, "Δ is a fraction here", points)
        what = "that is not 100 × (score − base) of its row"
        _first(path, rows, off, name, what, "mend the score, the base or Δ, and give scores four decimals or more")


def _check_errors(path: str | Path, rows: pl.DataFrame) -> None:
    """A standard error is sd/√n: what is not was cut off, or stands in the wrong column."""
    for measure in MEASURES:
        made, name = pl.col(f"{measure}_std") / pl.col("n_seeds").sqrt(), f"{measure}_se"
        allowed = pl.max_horizontal(made * ERROR_OFF, pl.lit(ROUNDED if measure.startswith("delta") else ROUNDED / 100))
        bad = (pl.col(name) - made).abs() > allowed
        _first(path, rows, bad, name, "that is not its sd/√n_seeds", "mend it (a line cut off?), or write nothing")
        lacking = pl.col(name).is_null() & pl.col(f"{measure}_std").is_not_null() & pl.col(name).is_not_null().any()
        what = "other rows have it, and this one its sd"
        _first(path, rows, lacking, name, what, "write sd/√n_seeds (a line cut off?), or leave it out everywhere")


def _check_regimes(path: str | Path, rows: pl.DataFrame) -> None:
    pairs = rows.select(KEYS[1:]).unique()
    right = pairs.with_columns(pl.Series("right", [regime(*row) for row in pairs.iter_rows()], dtype=pl.String))
    named = rows.join(right, on=KEYS[1:], how="left", maintain_order="left")
    wrong = named.filter(pl.col("regime") != pl.col("right")).head(1)
    if wrong.height:
        row = wrong.row(0, named=True)
        what = f"source and target make it {row['right']}"
        _refuse(path, f"line {row[LINE]}, regime", row["regime"], what, "mend the regime, or the names beside it")


def _check_repeats(path: str | Path, rows: pl.DataFrame) -> None:
    before = rows.with_columns(pl.col(LINE).first().over(KEYS).alias("before"))
    repeated = before.filter(pl.col(LINE) > pl.col("before")).head(1)
    if repeated.height:
        row = repeated.row(0, named=True)
        first = rows.filter(pl.col(LINE) == row["before"]).row(0, named=True)
        other = [name for name in NUMBERS if first[name] != row[name]]
        what = f"the model, source and target of line {row['before']} again, "
        what += f"with another {other[0]}" if other else "with the same numbers"
        cell = " ".join(row[name] for name in KEYS)
        _refuse(path, f"line {row[LINE]}, {', '.join(KEYS)}", cell, what, "keep one of the two rows")


def _check_sizes(path: str | Path, rows: pl.DataFrame) -> None:
    other = pl.col("model_size").ne_missing(pl.col("model_size").first().over("model_name"))
    _first(path, rows, other, "model_size", "its model has another size above", "mend one of the two")
