"""The reference study's CSV: what is read of it, every fault named by row and column, and families of models."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from analysis import report
from analysis.reading import published
from analysis.reading.published import as_reference
from analysis.reading.study import Study, load
from study.errors import ConfigError


@pytest.fixture
def table(study: Study, tmp_path: Path) -> Path:
    file = tmp_path / "transfer_results.csv"
    as_reference(study.transfer).write_csv(file)
    return file


def test_a_table_in_order_is_read_plain_and_gzipped(table: Path, study: Study) -> None:
    plain = published.read_reference(table)
    assert plain["delta"].to_list() == study.transfer["delta"].to_list()
    packed = table.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert published.read_reference(packed).equals(plain)
    assert load(str(packed)).transfer.equals(plain)


Change = Callable[[pl.DataFrame], pl.DataFrame]


def put(column: str, value: object, row: int = 3) -> Change:
    """Write a value into a row (the fourth: line 5 of the file)."""
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) == row).then(pl.lit(str(value))).otherwise(pl.col(column)).alias(column)
    )


def fraction(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns((pl.col("delta_score_norm_mean").cast(pl.Float64) / 100).cast(pl.String))


WRONG: dict[str, tuple[Change, str]] = {
    "twice the same": (lambda f: pl.concat([f, f[3:4]]), "the same source, target and model as line 5, with the same"),
    "contradictory": (
        lambda f: pl.concat([f, put("n_seeds", 7, 0)(put("score_norm_mean", 0.5, 0)(put("score_norm_base_mean", 0.5, 0)(
            put("delta_score_norm_mean", 0, 0)(f[3:4]))))]),
        "as line 5, with other numbers",
    ),
    "Δ is not the difference": (put("delta_score_norm_mean", 77), "line 5, delta_score_norm_mean"),
    "Δ as fractions": (fraction, "it is a fraction"),
    "regime": (put("regime", "CT-XX"), "line 5, regime = 'CT-XX': source and target make it"),
    "1e308": (put("score_norm_std", "1e308"), "line 5, score_norm_std"),
    "NaN": (put("score_mean", "NaN"), "line 5, score_mean = 'NaN'"),
    "inf": (put("delta_score_mean", "inf"), "line 5, delta_score_mean"),
    "n/a": (put("score_base_mean", "n/a"), "line 5, score_base_mean = 'n/a'"),
    "no seeds": (put("n_seeds", 0), "that is no number of seeds"),
    "percentages": (put("score_mean", 42.5), "a score is a proportion"),
    "negative spread": (put("delta_score_norm_std", -1), "cannot be below 0"),
    "blank language": (put("eval_language", ""), "line 5, eval_language = '': it is blank"),
    "no score": (put("score_norm_mean", ""), "line 5, score_norm_mean = '': it is lacking"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_by_row_and_column(
    what: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, words = WRONG[what]
    change(pl.read_csv(table, infer_schema=False)).write_csv(table)
    assert report.main(["--published", str(table), "--out", str(tmp_path / "r")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "transfer_results.csv" in said
    assert "fix:" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\0\0", "this is no text"),
        ("model_name;model_size\nm;1,5\n".encode(), "semicolons"),
        (b"model_name,regime\nm,MT-ML\n", "such columns are lacking"),
        ("model_name\nGénie\n".encode("latin-1"), "line 2 = \"b'\\\\xe9'\": this byte is not UTF-8"),
    ],
    ids=["empty", "binary", "semicolons", "columns", "latin-1"],
)
def test_what_is_no_such_table_is_said(data: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as error:
        published.read_reference(file)
    assert words in str(error.value)


def test_no_rows_and_a_line_cut_off(table: Path) -> None:
    lines = table.read_text().splitlines()
    table.write_text(lines[0] + "\n")
    with pytest.raises(ConfigError, match="no rows under the header"):
        published.read_reference(table)
    table.write_text("\n".join(lines)[:-70])
    with pytest.raises(ConfigError, match=rf"line {len(lines)} = .*fields where the header has"):
        published.read_reference(table)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Llama-3.2-1B-Instruct", "Llama-3"),
        ("meta-llama/Meta-Llama-3.1-8B", "Llama-3"),
        ("Qwen2.5-0.5B-Instruct", "Qwen2.5"),
        ("gemma-3-1b-it", "gemma-3"),
        ("SmolLM2-135M-Instruct", "SmolLM2"),
        ("own", "own"),
    ],
)
def test_family_is_read_off_the_name(name: str, family: str) -> None:
    assert published.family(name) == family
