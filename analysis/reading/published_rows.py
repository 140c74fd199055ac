"""What may be wrong in a published table: every fault by its row and column, with the value and the way to mend it."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Never

import polars as pl

from analysis.reading.transfer import ERRORS, MEASURES, STATISTICS
from study.cells import regime
from study.errors import ConfigError

KEYS = ["model_name", "fine_tuned_dataset", "fine_tuned_language", "eval_dataset", "eval_language"]
MEANS = [f"{measure}_mean" for measure in MEASURES]
SPREADS = [name for name in (*STATISTICS, *ERRORS) if name not in MEANS]
LINE = "line"  # of the file, the header being line 1
TOLERANCE = 0.01  # pp: between Δ and its two scores, which may have been rounded
MOST = 1e6


def _refuse(path: str | Path, where: str, value: object, problem: str, fix: str) -> Never:
    raise ConfigError(f"{Path(path).name}, {where}", value, problem, fix)


def rows_of(path: str | Path, wanted: Sequence[str]) -> pl.DataFrame:
    """The wanted columns as text, and `line`; ConfigError for what is no such table."""
    file = Path(path)
    if not file.is_file():
        raise ConfigError("--published", path, "no such file", "name the study's transfer_results.csv")
    lines = list(csv.reader(io.StringIO(_text(file), newline="")))
    if not lines:
        _refuse(path, "line 1", "", "the file is empty", "give a CSV with the reference study's columns")
    header = [name.strip() for name in lines[0]]
    if len(header) == 1 and ";" in header[0]:
        _refuse(path, "line 1", header[0][:40], "columns are parted by semicolons", "write it with commas and decimal points")
    lacking = sorted(set(wanted) - set(header))
    if lacking:
        _refuse(path, "line 1", ", ".join(lacking), "such columns are lacking", "give a file with the reference study's columns")
    body = [(number, line) for number, line in enumerate(lines[1:], 2) if line]
    if not body:
        _refuse(path, "line 2", "", "there are no rows under the header", "give a table with a row per source and target")
    for number, line in body:
        if len(line) != len(header):
            what = f"{len(line)} fields where the header has {len(header)}"
            _refuse(path, f"line {number}", ",".join(line)[:60], what, "the file may be cut off: get it anew, or mend the line")
    at = [header.index(name) for name in wanted]
    columns = {name: [line[i].strip() for _, line in body] for name, i in zip(wanted, at, strict=True)}
    return pl.DataFrame(columns).with_columns(pl.Series(LINE, [number for number, _ in body]))


def _text(file: Path) -> str:
    fix = "give the CSV itself, in UTF-8"
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError) as error:
        raise ConfigError(file.name, file, f"it cannot be read: {error}", "get it anew") from error
    if b"\0" in data:
        _refuse(file, "byte " + str(data.index(b"\0")), "\\0", "this is no text", fix)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{file.name}, line {line}", data[error.start : error.start + 1], "this byte is not UTF-8 (Latin-1, say)", fix
        ) from error


def checked(path: str | Path, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with their types, when nothing is wrong with them; ConfigError names the first fault otherwise."""
    for name in KEYS:
        _first(path, rows, pl.col(name) == "", name, "it is blank", "say which it is, or leave the row out")
    numbers = ["model_size", "n_seeds", *STATISTICS, *ERRORS]
    typed = rows.with_columns(
        pl.when(pl.col(name) != "").then(pl.col(name)).cast(pl.Float64, strict=False).alias(f"{name} as number")
        for name in numbers
    )
    for name in numbers:
        value = pl.col(f"{name} as number")
        bad = (pl.col(name) != "") & (value.is_null() | ~value.is_finite() | (value.abs() > MOST))
        _first(path, typed, bad, name, "that is no number to reckon with", "write a number with a decimal point, or nothing")
    typed = typed.with_columns(pl.col(f"{name} as number").alias(name) for name in numbers).drop(
        f"{name} as number" for name in numbers
    )
    for name in (*MEANS, "n_seeds"):
        _first(path, typed, pl.col(name).is_null(), name, "it is lacking", "leave the row out where nothing was measured")
    whole = (pl.col("n_seeds") >= 1) & (pl.col("n_seeds") == pl.col("n_seeds").round(0))
    _first(path, typed, ~whole, "n_seeds", "that is no number of seeds", "write 1 or more")
    for name in SPREADS:
        _first(path, typed, pl.col(name) < 0, name, "a spread cannot be below 0", "write its size, or nothing")
    for name in ("score_mean", "score_base_mean", "score_norm_mean", "score_norm_base_mean"):
        proportion = pl.col(name).is_between(0, 1)
        _first(path, typed, ~proportion, name, "a score is a proportion, 0 to 1", "divide percentages by 100")
    _check_deltas(path, typed)
    _check_regimes(path, typed)
    _check_repeats(path, typed)
    return typed.with_columns(pl.col("n_seeds").cast(pl.Int64)).drop(LINE)


def _first(path: str | Path, rows: pl.DataFrame, bad: pl.Expr, column: str, problem: str, fix: str) -> None:
    """Refuse the first row that is bad in a column."""
    found = rows.filter(bad).head(1)
    if found.height:
        row = found.row(0, named=True)
        _refuse(path, f"line {row[LINE]}, {column}", row[column], problem, fix)


def _check_deltas(path: str | Path, rows: pl.DataFrame) -> None:
    for kind in ("score", "score_norm"):
        name, made = f"delta_{kind}_mean", pl.col(f"{kind}_mean") - pl.col(f"{kind}_base_mean")
        off = (pl.col(name) - 100 * made).abs() > TOLERANCE
        fraction = off & ((pl.col(name) - made).abs() <= TOLERANCE / 100)
        _first(path, rows, fraction, name, "it is a fraction", "write Δ in percentage points: 100 × (score − base)")
        what = "it is not 100 × (score − base) of its row"
        _first(path, rows, off, name, what, "mend the score, the base or Δ")


def _check_regimes(path: str | Path, rows: pl.DataFrame) -> None:
    pairs = rows.select(KEYS[1:]).unique()
    right = pairs.with_columns(pl.Series("right", [regime(*row) for row in pairs.iter_rows()], dtype=pl.String))
    named = rows.join(right, on=KEYS[1:], how="left")
    wrong = named.filter(pl.col("regime") != pl.col("right")).sort(LINE).head(1)
    if wrong.height:
        row = wrong.row(0, named=True)
        _refuse(path, f"line {row[LINE]}, regime", row["regime"], f"source and target make it {row['right']}", "mend the regime")


def _check_repeats(path: str | Path, rows: pl.DataFrame) -> None:
    again = rows.with_columns(pl.col(LINE).first().over(KEYS).alias("before"), pl.len().over(KEYS).alias("times"))
    repeated = again.filter(pl.col("times") > 1, pl.col(LINE) > pl.col("before")).sort(LINE).head(1)
    if repeated.height:
        row = repeated.row(0, named=True)
        first = rows.filter(pl.col(LINE) == row["before"]).row(0, named=True)
        same = all(first[name] == row[name] for name in MEANS)
        what = f"the same source, target and model as line {row['before']}, with {'the same' if same else 'other'} numbers"
        _refuse(path, f"line {row[LINE]}", "/".join(row[name] for name in KEYS), what, "keep one of the two rows")
