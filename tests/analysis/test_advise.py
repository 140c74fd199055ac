"""The command that answers questions."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from analysis import advise
from analysis.advice import predict
from analysis.advice.expected import expectations
from analysis.reading.published import as_reference
from analysis.reading.study import Study, load_store
from tests.support.synth import Shape, write_store

SHAPE = Shape()


def test_command_line(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for question in (
        ["--target", "names/de"],
        ["--source", "names/de", "--model", "small-3B"],
        ["--target", "names/de", "--max-harm", "0"],
        ["--target", "names/de", "--top", str(10**20)],
    ):
        assert advise.main([str(store_path), *question]) == 0
        assert "names/de" in capsys.readouterr().out
    assert advise.main([str(store_path), "--source", "names/de"]) == 0
    _, _, legend = capsys.readouterr().out.rpartition("|\n")
    assert {one.split(":")[0].strip() for one in legend.splitlines()} == {
        "regime",
        "delta",
        "expected",
        "can_be_harmed",
    }
    assert advise.main([str(store_path), "--source", "names/de", "--json", "--top", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sentence"].startswith("Targets of names/de")
    assert {row["target"] for row in told["rows"]} == {f"{t}/{lang}" for t in SHAPE.tasks for lang in SHAPE.languages}
    for wrong in (
        ["--target", "names"],
        ["--target", "x/y"],
        ["--source", "x/y"],
        ["--target", "names/de", "--model", "no"],
        ["--target", "names/de", "--top", "-3"],
        ["--target", "names/de", "--max-harm", "nan"],
        ["--target", "names/de", "--max-harm", "-1"],
        ["--budget", "0"],
    ):
        assert advise.main([str(store_path), *wrong]) == 2
        assert "fix:" in capsys.readouterr().err
    assert advise.main([str(store_path), "--budget", "2"]) == 2


def test_a_published_table_is_asked_as_the_report_reads_it(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "transfer_results.csv.gz"
    packed.write_bytes(gzip.compress(as_reference(study.transfer).write_csv().encode()))
    assert advise.main([str(packed), "--target", "names/de"]) == 0
    assert "names/en" in capsys.readouterr().out


def test_untried_sources_are_predicted_and_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = Shape(tasks=("t", "u"), languages=("de", "en", "es", "fr"), seeds=(1,), items=30)
    write_store(tmp_path / "s", shape, drop=range(8, 16))
    study = load_store(str(tmp_path / "s"))
    model = predict.fit_grid(predict.grid(study.transfer, [("t", "en")]))
    known = expectations(study.transfer, study.grids, model.predict())
    guessed = known.filter(~pl.col("measured"))
    assert set(guessed["source"]) == {"t/en"}
    assert guessed["low"].null_count() == 0
    assert advise.main([str(tmp_path / "s"), "--budget", "1"]) == 0
    assert "t | en" in " ".join(capsys.readouterr().out.split())[:2000].replace("|", " | ").replace("  ", " ")
