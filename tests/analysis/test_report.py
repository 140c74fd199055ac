"""The command that writes the report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis import report
from analysis.reading.study import Study, load
from analysis.tables.exclusion import check_left, without_unhealthy
from analysis.tables.registry import TABLES, make_all
from study.errors import ConfigError
from study.store.compaction import compact
from study.store.layout import ITEMS, SCORES
from study.store.store import Store
from tests.support.synth import Shape, write_store


@pytest.mark.usefixtures("no_figures")
def test_command_line(tmp_path: Path, store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(store_path), "--out", str(tmp_path / "r")]) == 0
    assert "index.html" in capsys.readouterr().out
    assert report.main([str(store_path), "--out", str(tmp_path / "r"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["index"] == str(tmp_path / "r" / "index.html")
    assert told["lines"][0].startswith("Distrust: ")
    assert report.main([str(tmp_path / "nowhere")]) == 2
    assert "fix:" in capsys.readouterr().err


@pytest.mark.processes
@pytest.mark.parametrize("command", ["report", "advise"])
def test_nothing_heavy_is_imported_to_start(command: str) -> None:
    heavy = ("altair", "scipy", "numpy", "pandas", "torch", "ray", "polars")
    code = f"import analysis.{command}, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_compacted_store_gives_the_same_tables(tmp_path: Path, store_path: Path, study: Study) -> None:
    shutil.copytree(store_path, tmp_path / "s")
    store = Store(str(tmp_path / "s"))
    assert len(store.files(ITEMS, "")) > 4
    compact(store, lambda _: None)
    assert len(store.files(ITEMS, "")) == len(store.files(SCORES, "")) == 4
    compacted = load(store.uri)
    assert compacted.excluded == study.excluded
    before, after = (make_all(TABLES, of) for of in (study, compacted))
    for name, made in before.items():
        assert after[name].reason == made.reason
        if made.frame is not None:
            assert after[name].frame is not None
            assert made.frame.equals(after[name].frame), name
    assert sum(made.frame is not None for made in before.values()) > 20


@pytest.mark.usefixtures("no_figures")
def test_default_folder_is_inside_a_local_store(tmp_path: Path) -> None:
    write_store(tmp_path / "s", Shape(items=8))
    assert report.main([str(tmp_path / "s")]) == 0
    assert (Path(Store(str(tmp_path / "s")).uri) / "report" / "index.html").exists()


@pytest.mark.usefixtures("no_figures")
def test_report_beside_another_and_from_the_published_table(tmp_path: Path, store_path: Path) -> None:
    assert report.main([str(store_path), "--out", str(tmp_path / "a")]) == 0
    csv = tmp_path / "a" / "tables" / "transfer_results.csv"
    assert report.main(["--published", str(csv), "--out", str(tmp_path / "b"), "--compare", str(store_path)]) == 0
    page = (tmp_path / "b" / "index.html").read_text(encoding="utf-8")
    assert "Beside the other study" in page
    assert "Single cells were not tested: it needs items that are right or wrong" in page
    for name in ("regime_summary", "language_roles", "task_matrix", "pareto", "variance_crossed"):
        ours, theirs = (pl.read_parquet(tmp_path / side / "tables" / f"{name}.parquet") for side in "ab")
        known = [c for c in ours.columns if not c.endswith(("_low", "_high", "_floor", "_least", "low", "high"))]
        assert ours.select(known).equals(theirs.select(known)), name


@pytest.mark.usefixtures("no_figures")
def test_report_without_unhealthy_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = Shape(items=40, tasks=("t", "u"), options=3)
    write_store(tmp_path / "s", shape)
    study = load(str(tmp_path / "s"))
    healthy = without_unhealthy(study)
    dropped = study.transfer.height - healthy.transfer.height
    assert dropped > 0  # on 40 items with three options some base is not above chance
    assert any(n == dropped and "unhealthy" in why for n, why in healthy.excluded)
    assert report.main([str(tmp_path / "s"), "--exclude-unhealthy", "--curated", "t, v"]) == 0
    page = (tmp_path / "s" / "report" / "index.html").read_text(encoding="utf-8")
    assert "unhealthy targets" in page
    with pytest.raises(ConfigError, match="exclude-unhealthy"):
        without_unhealthy(Study("x", "x", study.transfer))
    alike = tuple(replace(panel, pred=np.zeros_like(panel.pred)) for panel in study.panels)
    with pytest.raises(ConfigError, match="all 6 targets fail a health check, and nothing is left"):
        check_left(without_unhealthy(replace(study, panels=alike)))
    check_left(healthy)


@pytest.mark.usefixtures("no_figures")
def test_others_come_behind_the_study_and_it_is_none_of_them(
    tmp_path: Path, store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--compare took the store with it, and a second --compare took the place of the first."""
    store, out = str(store_path), ["--out", str(tmp_path / "r")]
    for wrong, said in (
        (["--compare", "other", store, *out], "name it first: python -m analysis.report STORE --compare OTHER"),
        ([store, "--compare", store, *out], "is the study itself"),
        ([store, "--compare", str(tmp_path / "no"), "--compare", store, *out], "no': holds no study"),
    ):
        assert report.main(wrong) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["a", "--published", "b.csv"], ["--published", "nowhere.csv"]])
def test_bad_options_are_clear(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(arguments) == 2
    assert "fix:" in capsys.readouterr().err


@pytest.mark.usefixtures("no_figures")
def test_what_a_config_assumes_is_said(tmp_path: Path) -> None:
    store, out = write_store(tmp_path / "s", Shape(items=8)), tmp_path / "r"
    store.write(
        "study.yaml",
        b"config: {study: synthetic, recipe: {learning_rate: 1.0e-5}, models: [{id: m}],"
        b" assumed: {recipe.learning_rate: not released, models: which is not told}}\n",
    )
    assert report.main([str(tmp_path / "s"), "--out", str(out)]) == 0
    said = "recipe.learning_rate = 1e-05: not released; models: which is not told."
    assert said in (out / "index.html").read_text(encoding="utf-8")
