"""A report that is still what its study says is not written again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import report
from analysis.page import as_before, files
from study.store.store import Store
from tests.support.synth import Shape, write_store

KEPT = "as it was written: nothing that it is made of has changed"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What the command says of a study, whose tables and figures are not made."""
    write_store(tmp_path / "s", Shape(items=8))

    def write(study: object, out: Path, others: object = ()) -> files.Written:
        out.mkdir(parents=True, exist_ok=True)
        (out / "index.html").write_text("page")
        return files.Written(out / "index.html", ["who gives", "who takes"])

    monkeypatch.setattr(files, "write", write)

    def told(*more: str) -> str:
        assert report.main([str(tmp_path / "s"), *more]) == 0
        return capsys.readouterr().out

    return told


def test_a_report_is_written_once_and_told_again(told: Callable[..., str], tmp_path: Path) -> None:
    store = Store(str(tmp_path / "s"))
    first = told()
    assert KEPT not in first
    again = told()
    assert KEPT in again
    assert again.splitlines()[1:] == first.splitlines()[1:] == ["  who gives", "  who takes"]
    store.write("logs/runs/1.json", b"{}")  # which no report reads
    store.write("study.yaml", store.read("study.yaml"))  # as a run does that has nothing to do
    assert KEPT in told()
    assert KEPT not in told("--exclude-unhealthy")
    assert KEPT not in told()  # that of other options lies there


@pytest.mark.parametrize(
    "what", ["a score", "the study", "the page", "a file that is gone", "the program", "its table", "a library"]
)
def test_whatever_it_is_made_of_makes_it_anew(
    what: str, told: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "s"))
    program = tmp_path / "other" / "page" / "as_before.py"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "places.csv").write_text("language,where\n")
    if what == "its table":
        monkeypatch.setattr(as_before, "__file__", str(program))
    told()
    page = tmp_path / "s" / "report" / "index.html"
    match what:
        case "a score":
            name = store.files("results/scores", ".parquet")[0]
            store.write(name.replace(".parquet", "0.parquet"), store.read(name))
        case "the study":
            store.write("study.yaml", store.read("study.yaml") + b"\n# other\n")
        case "the page":
            os.utime(page, ns=(1, 1))
        case "a file that is gone":
            page.unlink()
        case "the program":
            monkeypatch.setattr(as_before, "__file__", str(program))
        case "its table":
            (tmp_path / "other" / "places.csv").write_text("language,where\nxx,here\n")
        case "a library":
            monkeypatch.setattr(as_before, "version", lambda name: "0")
    assert KEPT not in told()
    assert KEPT in told()


def test_one_that_is_not_finished_or_lies_beside_another_is_written(told: Callable[..., str], tmp_path: Path) -> None:
    told()
    (tmp_path / "s" / "report" / as_before.NOTE).write_text("{")
    assert KEPT not in told()
    other = str(tmp_path / "other")
    write_store(Path(other), Shape(items=8))
    assert KEPT not in told("--compare", other)
    assert KEPT not in told()


def test_files_that_come_and_go_and_reports_in_the_store_are_no_hindrance(
    told: Callable[..., str], tmp_path: Path
) -> None:
    store = tmp_path / "s"
    (store / "results" / "scores" / ".part.parquet.tmp").symlink_to("gone")  # as one that is being written
    (store / "results" / "scores" / "swapped.txt").symlink_to("gone")  # gone between listing and looking
    own = str(store / "mine")
    for options in ((), ("--out", own)):
        assert KEPT not in told(*options)
        assert KEPT in told(*options)
    assert KEPT in told()


def test_what_is_no_store_is_told_as_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link").symlink_to("gone")
    assert report.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: STORE")
