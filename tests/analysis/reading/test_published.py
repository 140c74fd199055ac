"""The reference study's CSV: what is read of it, every fault named by row and column, and families of models."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from analysis import advise, report
from analysis.reading import published
from analysis.reading.published import as_reference
from analysis.reading.study import Study, load


@pytest.fixture
def table(study: Study, tmp_path: Path) -> Path:
    file = tmp_path / "transfer_results.csv"
    as_reference(study.transfer).write_csv(file)
    return file


def test_a_table_in_order_is_read_plain_and_gzipped(table: Path, study: Study) -> None:
    plain = published.read_reference(table)
    assert plain["delta"].to_list() == study.transfer["delta"].to_list()
    packed = table.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n")))
    assert published.read_reference(packed).equals(plain)
    assert load(str(packed)).transfer.equals(plain)


TRUE_ROWS = Path(__file__).with_name(
    "published_rows.csv"
)  # 12 of its release (arXiv 2511.13368, CC BY 4.0, the authors)


def test_rows_as_the_reference_study_has_them_are_read() -> None:
    """In all regimes; Δ that is 0 but for a rounding error, spreads of 0. Every number as it stands."""
    found, stated = published.read_reference(TRUE_ROWS), pl.read_csv(TRUE_ROWS)
    assert (len(found), set(found["model"]), set(found["model_size"])) == (12, {"Llama-3.1-8B-Instruct"}, {8.0})
    assert set(found["regime"].cast(pl.String)) == {"MT-ML", "MT-CL", "CT-ML", "CT-CL"}
    assert set(found["n_seeds"]) == {3}
    keys = ["fine_tuned_dataset", "fine_tuned_language", "eval_dataset", "eval_language"]
    back = published.as_reference(found).sort(keys)
    assert (
        back.select(pl.col(published.COLUMNS).cast(pl.String)).rows()
        == stated.sort(keys).select(pl.col(published.COLUMNS).cast(pl.String)).rows()
    )


Change = Callable[[pl.DataFrame], pl.DataFrame]
HEADLINE = ("score_norm_mean", "score_norm_base_mean", "delta_score_norm_mean")


def put(column: str, value: object, row: int = 3) -> Change:
    """Write a value into a row (the fourth: line 5 of the file)."""
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) == row).then(pl.lit(str(value))).otherwise(pl.col(column)).alias(column)
    )


def fraction(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns((pl.col(HEADLINE[2]).cast(pl.Float64) / 100).cast(pl.String))


def contradictory(frame: pl.DataFrame) -> pl.DataFrame:
    other = frame[3:4].with_columns(pl.lit(text).alias(name) for name, text in zip(HEADLINE, "000", strict=True))
    return pl.concat([frame, other])


WRONG: dict[str, tuple[Change, str]] = {
    "twice the same": (lambda f: pl.concat([f, f[3:4]]), "of line 5 again, with the same numbers"),
    "contradictory": (contradictory, "of line 5 again, with another score_norm_mean"),
    "Δ is not the difference": (
        put("delta_score_norm_mean", 77),
        "line 5, delta_score_norm_mean = '77.0': that",
    ),
    "Δ as fractions": (fraction, "Δ is a fraction here"),
    "regime": (put("regime", "CT-XX"), "line 5, regime = 'CT-XX': source and target make it CT-ML"),
    "1e308": (put("score_norm_std", "1e308"), "line 5, score_norm_std = '1e308': that is no number"),
    "NaN": (put("score_mean", "NaN"), "line 5, score_mean = 'NaN': that is no number"),
    "inf": (put("delta_score_mean", "inf"), "line 5, delta_score_mean = 'inf': that is no number"),
    "n/a": (put("score_base_mean", "n/a"), "line 5, score_base_mean = 'n/a': that is no number"),
    "decimal comma": (put("score_mean", "0,5"), "line 5, score_mean = '0,5': that is no number"),
    "base row": (put("fine_tuned_dataset", "n/a"), "line 5, fine_tuned_dataset = 'n/a': that names nothing"),
    "blank language": (put("eval_language", " "), "line 5, eval_language = '': that names nothing"),
    "a language of no width": (put("eval_language", "\u200b"), "eval_language = '\\u200b': a character that"),
    "a line in a name": (
        put("fine_tuned_dataset", "na\nmes"),
        "fine_tuned_dataset = 'na\\nmes': a character that cannot",
    ),
    "no seeds": (put("n_seeds", 0), "line 5, n_seeds = '0.0': that is no number of seeds"),
    "half a seed": (put("n_seeds", 1.5), "that is no number of seeds"),
    "percentages": (put("score_mean", 42.5), "line 5, score_mean = '42.5': a score is a proportion"),
    "negative spread": (put("delta_score_norm_std", -1), "line 5, delta_score_norm_std = '-1.0': a spread cannot"),
    "standard error": (put("delta_score_norm_se", 44), "line 5, delta_score_norm_se = '44.0': that is not its sd/√n"),
    "cut before the last number": (put("delta_score_norm_se", ""), "delta_score_norm_se = '': other rows have it"),
    "no score": (put("score_norm_mean", ""), "line 5, score_norm_mean = '': the number is lacking"),
    "a model of two sizes": (put("model_size", 70), "line 5, model_size = '70.0': its model has another size above"),
    "a model of a size and of none": (
        put("model_size", ""),
        "line 5, model_size = '': its model has another size above",
    ),
    "a model of no size": (put("model_size", -1), "line 5, model_size = '-1.0': that is no size"),
}


def refused(file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the report says of a file, which is one complaint and one fix."""
    assert report.main(["--published", str(file), "--out", str(file.parent / "report")]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 2
    assert said.splitlines()[1].startswith("  fix: ")
    assert not (file.parent / "report").exists()
    return said


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_by_line_and_column(what: str, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, words = WRONG[what]
    change(pl.read_csv(table, infer_schema=False)).write_csv(table)
    said = refused(table, capsys)
    assert words in said
    assert "transfer_results.csv" in said
    assert advise.main([str(table), "--target", "names/de"]) == 2
    assert words in capsys.readouterr().err


def latin_1(text: str) -> bytes:
    return text.replace("names", "Génie").encode("latin-1")


FILES: dict[str, tuple[Callable[[str], bytes], str]] = {
    "empty": (lambda text: b"", "line 1 = '': the file is empty"),
    "no rows": (lambda text: text.splitlines()[0].encode(), "line 2 = '': there are no rows under the header"),
    "binary": (lambda text: b"\x89PNG\r\n\0\0", "byte 6 = '\\\\0': this is no text"),
    "UTF-16": (lambda text: text.encode("utf-16"), "this is no text"),
    "latin-1": (latin_1, "line 2 = '0xe9': this byte is not UTF-8"),
    "semicolons": (lambda text: text.replace(".", ",").replace(",", ";").encode(), "columns are parted by semicolons"),
    "tabs": (lambda text: text.replace(",", "\t").encode(), "columns are parted by tabs"),
    "decimal commas": (lambda text: text.replace(".", ",").encode(), "fields where the header has 26"),
    "columns": (lambda text: text.replace("n_seeds", "seeds").encode(), "line 1 = 'n_seeds': columns are lacking"),
    "cut off between columns": (lambda text: text[: -len(text.splitlines()[-1]) // 2].encode(), "the header has 26"),
    "cut off in a number": (lambda text: cut_in_number(text).encode(), "that is not its sd/√n_seeds"),
    "an open quotation mark": (lambda text: text.replace("names", '"names', 1).encode(), "it cannot be read as a CSV"),
    "a packed file cut off": (lambda text: gzip.compress(text.encode())[:-40], "it cannot be read"),
}


def cut_in_number(text: str) -> str:
    """The last number of the last line is 12.34 and was cut to 1."""
    *lines, last = text.splitlines()
    fields = last.split(",")
    fields[18], fields[-1] = str(12.34 * float(fields[19]) ** 0.5), "1"
    return "\n".join([*lines, ",".join(fields)])


@pytest.mark.parametrize("what", FILES)
def test_what_is_no_such_table_is_said(what: str, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, words = FILES[what]
    table.write_bytes(change(table.read_text()))
    assert words in refused(table, capsys)


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
