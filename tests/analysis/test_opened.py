"""A study opened from Python, on a store that a real sweep made; the manual and the tutorial run."""

from __future__ import annotations

import ast
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import analysis
from analysis import advise
from analysis.advice.question import Question
from analysis.opened import Opened
from analysis.page.sections import SECTIONS, draw
from analysis.reading.published import as_reference
from analysis.reading.rows import COLUMNS
from analysis.reading.study import Study, load_store
from analysis.tables.registry import TABLES, make_all
from study.errors import ConfigError
from study.store import schema
from study.store.compaction import compact
from study.store.layout import ITEMS, adapter_folder
from study.store.records import FailureRecord
from study.store.store import Store
from tests.support.rows import record_text
from tests.support.synth import Shape, ident, unit_rows, write_store
from tests.support.tiny_world import REPOSITORY

SMALL = Shape(items=6, tasks=("t",), languages=("de", "en"), seeds=(1,))
SOURCE, TARGET = ("t", "de"), ("t", "en")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the quickstart was run, cut small."""
    folder = tmp_path_factory.mktemp("place")
    with tarfile.open(REPOSITORY / "tests" / "stores" / "quickstart-638e63d.tar.xz") as packed:
        packed.extractall(folder / "runs" / "quickstart", filter="data")
    return folder


@pytest.fixture(scope="module")
def opened(place: Path) -> Opened:
    return analysis.open(place / "runs" / "quickstart")


@pytest.fixture(scope="module")
def whole(opened: Opened) -> Study:
    return load_store(opened.origin)


def test_rows_are_those_of_the_report(opened: Opened, whole: Study) -> None:
    assert_frame_equal(opened.transfer, whole.transfer)
    assert set(opened.scores["score_id"]) == set(whole.units["score_id"])
    assert opened.scores["metric"].n_unique() * whole.units.height == opened.scores.height
    means = opened.items.group_by("score_id").agg(pl.col("correct").mean().alias("mean")).collect()
    both = means.join(whole.units, on="score_id")
    assert both.height == whole.units.height
    assert both.select((pl.col("mean") - pl.col("score")).abs().max()).item() < 1e-6
    assert opened.adapters["adapter_id"].to_list() != []
    assert set(opened.adapters["adapter_id"]) == set(whole.units["adapter_id"].drop_nulls())
    trained = {record.adapter_id: record for record in whole.records}
    for row in opened.adapters.iter_rows(named=True):
        record = trained[row["adapter_id"]]
        assert row["source"] == record.called
        assert (row["steps"], row["validation_loss"]) == (record.course.steps, record.course.epochs[0].validation_loss)
        assert (Path(opened.origin) / row["folder"] / "record.json").is_file()


def test_every_column_has_a_type_and_a_meaning(opened: Opened) -> None:
    for name in COLUMNS:
        told = opened.columns(name)
        assert told.columns == ["column", "type", "meaning"]
        assert told["meaning"].str.len_chars().min() > 4  # type: ignore[operator]
        assert told["column"].to_list() == list(COLUMNS[name])
    assert opened.columns("regime_summary")["column"].to_list() == opened.tables["regime_summary"].columns


def test_tables_and_charts_are_those_of_the_report(opened: Opened, whole: Study) -> None:
    names = ("regime_summary", "significance", "language_roles", "language_matrix", "health")
    made = make_all([table for table in TABLES if table.name in names], whole)
    for name in names:
        frame = made[name].frame
        assert frame is not None
        assert_frame_equal(opened.tables[name], frame)
    sections = {section.name: section for section in SECTIONS}
    for name in ("regimes", "language_matrix"):
        drawn = draw(sections[name], whole, made, page=False)
        assert drawn is not None
        chart = opened.plots[name]
        assert isinstance(chart, alt.LayerChart)
        theirs = chart.to_dict()  # raises for what is not as the schema says
        assert {k: v for k, v in theirs.items() if k != "config"} == json.loads(
            json.dumps({k: v for k, v in drawn.items() if k != "config"})
        )
        assert len(opened.plots.how(name)) > 40
    with pytest.raises(ConfigError, match="two models"):
        opened.tables["consistency"]
    with pytest.raises(ConfigError, match="two models"):
        opened.plots["consistency"]
    with pytest.raises(ConfigError, match="regime_summary"):
        opened.tables["no"]
    with pytest.raises(ConfigError, match="regimes"):
        opened.plots["no"]


def test_only_what_a_study_has_is_in_its_tables_and_plots(tmp_path: Path, opened: Opened) -> None:
    file = tmp_path / "t.csv"
    as_reference(opened.transfer).write_csv(file)
    study = analysis.open(file)
    tables, plots = dict(study.tables), dict(study.plots)
    assert {"transfer", "regime_summary"} <= tables.keys()
    assert len(study.tables) == len(tables) < len(study.tables.about)
    for mapping, name in ((study.tables, "significance"), (study.plots, "consistency")):
        assert name not in mapping
        assert name not in list(mapping)
        assert mapping.get(name) is mapping.get("no") is None
        assert mapping.get(name, 1) == 1
    assert "transfer" in study.tables
    assert study.tables.get("transfer") is not None
    assert "regimes" in plots
    with pytest.raises(ConfigError, match="fix: one of significance"):
        study.tables["significants"]


def test_a_study_prints_itself_but_is_not_read_to_be_named(place: Path, opened: Opened) -> None:
    fresh = analysis.open(place / "runs" / "quickstart")
    assert repr(fresh) == f"Opened(origin='{fresh.origin}')"
    assert "study" not in vars(fresh)
    assert "1 model, 12 sources, 12 targets\n300 of 300 scores done" in str(opened)
    assert "Effect: +0.60 pp on average" in str(opened)


def test_values_of_the_wrong_kind_are_a_line(opened: Opened) -> None:
    for wrong, key in (({"max_harm": "20"}, "--max-harm"), ({"max_harm": True}, "--max-harm")):
        with pytest.raises(ConfigError, match=key):
            opened.advise(target="number/en", **wrong)  # type: ignore[arg-type]
    for other, key in (({"budget": "3"}, "--budget"), ({"target": 3}, "--target")):
        with pytest.raises(ConfigError, match=key):
            opened.advise(**other)  # type: ignore[arg-type]
    for name in (None, 3, b"x"):
        with pytest.raises(ConfigError, match="no name of a place"):
            analysis.open(name)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="fix: one of number/en, "):
        opened.advise(target="nubmer/en")


def test_advice_is_what_the_command_prints(opened: Opened, capsys: pytest.CaptureFixture[str]) -> None:
    found = opened.advise(target="number/en")
    assert advise.main([opened.origin, "--target", "number/en", "--top", "100"]) == 0
    printed = capsys.readouterr().out
    assert opened.advice(Question(target="number/en")).sentence in printed
    rows = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("| ") and "/" in line]
    assert rows == found["source"].to_list()
    for wrong in ({}, {"target": "number/en", "budget": 1}, {"budget": 0}, {"target": "x/y"}, {"source": "x"}):
        with pytest.raises(ConfigError):
            opened.advise(**wrong)  # type: ignore[arg-type]


def test_a_study_shows_itself(tmp_path: Path, place: Path) -> None:
    shutil.copytree(place / "runs" / "quickstart", tmp_path / "s")
    store = Store(str(tmp_path / "s"))
    store.put_failure(FailureRecord("u1", "names/de seed1", "data", "m", 1))
    shown = analysis.open(store.uri)._repr_html_()
    assert "1 model, 12 sources, 12 targets" in shown
    assert "300 of 300 scores done, 1 unit failed" in shown
    assert "Effect: +0.60 pp on average" in shown
    assert "this is a trial run on a few items" in shown
    shutil.rmtree(tmp_path / "s" / "results")
    assert "it holds no scores yet" in analysis.open(store.uri)._repr_html_()


@pytest.mark.parametrize("compacted", [False, True])
def test_an_item_counts_once(tmp_path: Path, compacted: bool) -> None:
    """A unit that ran twice, and one that was killed between its items and its scores; and one of an older config."""
    store = write_store(tmp_path / "s", SMALL)
    once = analysis.open(store.uri).items.sort("score_id", "doc_id").collect()
    items, scores = unit_rows(SMALL, SMALL.models[0], SOURCE, 1, TARGET)
    store.append(items, scores)
    store.append(items[:3], [])
    old_items, old_scores = unit_rows(SMALL, SMALL.models[0], SOURCE, 9, TARGET)
    store.append(old_items, old_scores)
    if compacted:
        compact(store, lambda _: None)
    assert store.items().num_rows == once.height + 9 + 6
    again = analysis.open(store.uri)
    assert_frame_equal(again.items.sort("score_id", "doc_id").collect(), once)
    assert again.scores.height == 2 * again.scores["score_id"].n_unique()
    right = again.items.filter(pl.col("correct") == 1, pl.col("kind") == "trained").select("doc_id")
    assert right.collect().height == once.filter(pl.col("correct") == 1, pl.col("kind") == "trained").height
    assert again.items.head(7).collect().height == 7
    assert again.items.select(pl.len()).collect().item() == once.height


def test_of_an_item_that_was_answered_twice_the_newest_row_counts_as_in_the_report(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", SMALL)
    items, scores = unit_rows(SMALL, SMALL.models[0], SOURCE, 1, TARGET)
    for right in (0.0, 1.0):  # the first time some were
        store.append([{**row, "correct_norm": right} for row in items], scores)
    opened = analysis.open(store.uri)
    mine = pl.col("score_id") == items[0]["score_id"]
    rows = opened.items.filter(mine).select("correct_norm").collect()["correct_norm"]
    (told,) = opened.study.units.filter(mine)["score_norm"]
    assert rows.mean() == pytest.approx(told)
    assert len(rows) == SMALL.items


def test_parts_and_starts_that_are_not_scored_are_adapters_too(tmp_path: Path) -> None:
    """Only what was scored was one; what an older config has trained is none."""
    store = write_store(tmp_path / "s", SMALL, grid=False)
    scored = ident(SMALL.seed, "tiny-1B", SOURCE, 1)
    for name in (scored, "part", "start", "old"):
        folder = adapter_folder("tiny-1B", "t", name, 1, name)
        store.write(f"{folder}/record.json", record_text(name, model="tiny-1B", seed=1))
    rows = pl.DataFrame(pl.from_arrow(store.scores())).unique("subject_id").to_dicts()
    subjects = [{name: row.get(name) for name in schema.SUBJECTS.names} for row in rows]
    terms = [{"subject_id": name, "source": "t/de", "weight": 1.0} for name in ("part", scored)]
    made = {"adapter_id": "mix", "name": "mix", "model": "tiny-1B", "method": "sum", "terms": terms}
    store.write_grid(
        schema.table(schema.SUBJECTS, subjects),
        schema.table(schema.TARGETS, [{"target_id": "t/en", "target_task": "t", "target_language": "en"}]),
        compositions=schema.table(schema.COMPOSITIONS, [{**dict.fromkeys(schema.COMPOSITIONS.names), **made}]),
        starts=schema.table(schema.STARTS, [{"adapter_id": scored, "model": "tiny-1B", "start_id": "start"}]),
    )
    found = analysis.open(store.uri).adapters
    assert sorted(found["adapter_id"]) == sorted([scored, "part", "start"])
    assert set(found["kind"]) == {"trained"}


def test_a_part_of_an_older_release_has_nulls(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", SMALL)
    for name in store.files(ITEMS, ".parquet"):
        path = Path(store.path(name))
        rows = pl.read_parquet(path).drop("cut_off").to_arrow()
        table = rows.replace_schema_metadata({"kind": "items", "version": schema.SCHEMA_VERSION})
        path.unlink()
        store.add_part(ITEMS, table)
    assert analysis.open(store.uri).items.select("cut_off").collect()["cut_off"].null_count() == 6 * 6


def test_what_is_damaged_or_not_there_says_so(tmp_path: Path) -> None:
    for name in (tmp_path / "nowhere", tmp_path, tmp_path / "no.csv"):
        with pytest.raises(ConfigError, match="fix:"):
            analysis.open(name)
    store = write_store(tmp_path / "s", SMALL)
    found = analysis.open(store.uri)
    found.scores.height  # noqa: B018
    Path(store.path(store.files(ITEMS, ".parquet")[0])).write_bytes(b"x")
    with pytest.raises(ConfigError, match="damaged file"):
        found.items.select("gold").collect()
    with pytest.raises(ConfigError, match="damaged file"):
        _ = found.transfer


def test_a_published_table_is_opened_too(tmp_path: Path, whole: Study) -> None:
    file = tmp_path / "t.csv"
    as_reference(whole.transfer).write_csv(file)
    found = analysis.open(file)
    assert found.transfer.height == whole.transfer.height
    assert "12 sources" in found._repr_html_()
    assert found.advise(target="number/en").height == 12
    with pytest.raises(ConfigError, match="published table"):
        _ = found.scores


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def cells(notebook: str) -> list[str]:
    read = json.loads(notebook)
    assert read["nbformat"] == 4
    return ["".join(cell["source"]) for cell in read["cells"] if cell["cell_type"] == "code"]


def shown(code: str, names: dict[str, Any]) -> object:
    """Run a cell as a notebook does: what its last line is worth is shown."""
    body = ast.parse(code).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if last is None:
        return None
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # type: ignore[attr-defined]
    return value.to_dict(validate=False) if isinstance(value, alt.TopLevelMixin) else value._repr_html_()


@pytest.fixture
def _there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


@pytest.mark.usefixtures("_there")
def test_the_manual_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    found = blocks((REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8"))
    for code in found:
        exec(compile(code, "python.md", "exec"), names)
    assert len(found) == 6
    assert (place / "roles.svg").read_text(encoding="utf-8").startswith("<svg")
    assert names["donors"].height == names["losers"].height == 12
    printed = capsys.readouterr().out
    assert "Sources for number/en" in printed
    assert "table = 'harm'" in printed


@pytest.mark.usefixtures("_there")
def test_the_tutorial_runs() -> None:
    names: dict[str, Any] = {}
    found = cells((REPOSITORY / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))
    outputs = [shown(code, names) for code in found]
    assert "300 of 300 scores done" in str(outputs[0])
    assert len(outputs) == 9
    assert None not in outputs
