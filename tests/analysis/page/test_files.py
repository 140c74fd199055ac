"""The report's files: tables, figures, page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
from altair.utils import schemapi
from altair.vegalite.v6.schema.core import load_schema

from analysis.page import files
from analysis.reading.published import COLUMNS, read_reference
from analysis.reading.study import load_store
from analysis.tables.registry import TABLES
from study.store.records import FailureRecord
from tests.support.synth import Shape, write_store


@pytest.fixture(scope="module")
def written(store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> files.Written:
    return files.write(load_store(str(store_path)), tmp_path_factory.mktemp("out"))


def test_every_table_is_written_with_documented_columns(written: files.Written) -> None:
    folder = written.index.parent / "tables"
    documented = pl.read_csv(folder / "columns.csv")
    for table in TABLES:
        path = folder / f"{table.name}.parquet"
        if not path.exists():
            continue
        columns = pl.read_parquet(path).columns
        assert columns == list(table.columns), table.name
        assert documented.filter(pl.col("table") == table.name)["column"].to_list() == columns
        assert pl.read_csv(folder / f"{table.name}.csv", infer_schema_length=None).columns == columns


def test_reference_csv_reads_back_as_the_same_transfer_table(written: files.Written) -> None:
    path = written.index.parent / "tables" / "transfer_results.csv"
    assert pl.read_csv(path).columns == COLUMNS
    ours = pl.read_parquet(written.index.parent / "tables" / "transfer.parquet")
    theirs = read_reference(path)
    kept = [c for c in ours.columns if c not in ("n_items", "model_family")]
    assert theirs.select(kept).equals(ours.select(kept))


def own_part(page: str) -> str:
    """The page without the charting library's script."""
    return re.sub(r"<script>(?:(?!</script>).)*vegaEmbed(?:(?!</script>).)*</script>", "", page, flags=re.DOTALL)


def test_page_is_self_contained_and_small(written: files.Written) -> None:
    page = written.index.read_text(encoding="utf-8")
    assert len(page) < 8_000_000
    assert len(own_part(page)) < len(page) / 2
    assert not re.search(r'<(?:script|img|link)[^>]+(?:src|href)="(?!data:|#)', own_part(page))
    assert page.count("</script>") == page.count("<script")


def test_figures_are_as_their_schema_says(written: files.Written) -> None:
    page = written.index.read_text(encoding="utf-8")
    specs = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert len(specs) > 10
    schema = load_schema()
    for spec in map(json.loads, specs):
        assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
        schemapi.validate_jsonschema(spec, schema)


def test_figures_are_written(written: files.Written) -> None:
    figures = written.index.parent / "figures"
    names = {p.stem for p in figures.glob("*.svg")}
    assert names == {p.stem for p in figures.glob("*.png")}
    assert {"matrix", "regimes", "language_roles", "task_roles", "task_matrix", "language_matrix", "pareto"} <= names


def test_lines_tell_the_overall_effect(written: files.Written) -> None:
    table = pl.read_parquet(written.index.parent / "tables" / "regime_summary.parquet")
    mean = table.row(by_predicate=pl.col("regime") == "all", named=True)["mean"]
    assert written.lines[0].startswith("Distrust: ")
    assert f"{mean:+.2f} pp".replace("-", "−") in written.lines[1]
    assert len(written.lines) >= 5


@pytest.mark.usefixtures("no_figures")
def test_trial_run_failures_and_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", Shape(items=8, tasks=("<b>t</b>", "u")))
    store.write("study.yaml", b"config: {study: '<script>alert(1)</script>', trial_run: true}\n")
    store.put_failure(FailureRecord("u1", "names/de seed1", "data", "</script><img src=x>", 1))
    page = own_part(files.write(load_store(str(tmp_path / "s")), tmp_path / "report").index.read_text(encoding="utf-8"))
    assert "Trial run." in page
    assert "&lt;img src=x&gt;" in page
    assert "<img" not in page
    assert "<script>alert" not in page
    assert "<b>t</b></td>" not in page


def test_a_grid_of_one_cell_still_gives_a_report(tmp_path: Path) -> None:
    write_store(tmp_path / "s", Shape(items=8, tasks=("only",), languages=("en",)))
    summary = files.write(load_store(str(tmp_path / "s")), tmp_path / "report")
    assert any("cannot be summed up" in line for line in summary.lines)
    assert "not computed" in summary.index.read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_figures")
def test_a_store_with_base_scores_only_still_gives_a_report(tmp_path: Path) -> None:
    shape = Shape(items=8)
    write_store(tmp_path / "s", shape, drop=range(10_000))
    summary = files.write(load_store(str(tmp_path / "s")), tmp_path / "report")
    assert summary.index.exists()


def test_no_text_in_a_csv_is_a_formula(tmp_path: Path) -> None:
    """A metric or a reason that began with `=` was one to whoever opened the table in a spreadsheet."""
    texts = ["=HYPERLINK(1)", "+1", "-1+1", "@sum", "\tx", "plain", "a=b", None]
    files.write_csv(pl.DataFrame({"text": texts, "number": [-1.5] * len(texts)}), tmp_path / "t.csv")
    found = pl.read_csv(tmp_path / "t.csv")
    assert found["text"].to_list() == [f"'{text}" for text in texts[:5] if text] + texts[5:]
    assert found["number"].to_list() == [-1.5] * len(texts)
