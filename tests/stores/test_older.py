"""A store that commit 638e63d wrote is whole still: nothing is done again, and its report has the tables that it had.

The store is a quickstart of three languages and two seeds, cut with `--limit 24`, without its adapters' weights; its
model and its tasks lay elsewhere then. A limit took the first rows then, which manifests name now.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analysis.page.files import write_tables
from analysis.reading.study import load_store
from analysis.tables.registry import TABLES, make_all
from evaluators.items.item import check_supported
from orchestrator import status
from orchestrator.planning.grid import Grid, expand
from orchestrator.planning.plan import plan
from orchestrator.planning.standing import of_plan, of_store
from orchestrator.planning.survey import survey
from study.cells import Cell
from study.config import StudyConfig
from study.config.file import load
from study.data.learned import train_documents
from study.data.manifest import row_id
from study.data.tasks import TaskLibrary
from study.models.resolve import resolve_all
from study.store.layout import RECORD_FILE, STUDY_FILE
from study.store.store import Store
from study.store.study_file import read_study, write_study

OVERRIDES = ("languages=[de, en, fr]", "seeds=[17, 42]", "recipe.epochs=1")
SINCE = ("learned_nothing", "left_out", "stage", "packing")  # keys that records have had since
SINCE_EPOCHS = ("steps", "tokens")
SINCE_TOKENS = ("near",)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("stores") / "small"
    with tarfile.open(Path(__file__).with_name("quickstart-638e63d.tar.xz")) as packed:
        packed.extractall(folder, filter="data")
    return Store(str(folder))


def first_rows(config: StudyConfig, items: int, folder: Path) -> StudyConfig:
    """The config with a manifest of the first so many rows of each task and split."""
    tasks, library = [], TaskLibrary.of(config)
    for task in config.tasks:
        cell = Cell(task.name, config.languages[0])
        loaded = library.load(cell)
        documents = [list(train_documents(cell, loaded, library.train(cell), {})), list(loaded.eval_docs)]
        names = [row_id(document, i) for rows in documents for i, document in enumerate(rows[:items])]
        splits = [split for split, rows in zip(("train", "test"), documents, strict=True) for _ in rows[:items]]
        manifest = folder / f"{task.name}.csv"
        manifest.write_text("".join(f"{a},{b}\n" for a, b in (("split", "id"), *zip(splits, names, strict=True))))
        tasks.append(task.model_copy(update={"train": task.train.model_copy(update={"manifest": str(manifest)})}))
    return config.model_copy(update={"tasks": tuple(tasks)})


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    config = first_rows(load("examples/quickstart/study.yaml", OVERRIDES), 24, tmp_path_factory.mktemp("rows"))
    models = resolve_all(config)
    found = survey(config, TaskLibrary.of(config), check_supported, print)
    assert not found.broken
    return expand(config, models, found.sources, found.targets)


def test_nothing_of_it_is_to_do_and_nothing_is_stale(store: Store, grid: Grid) -> None:
    todo = plan(grid, store.trained(), store.scored())
    assert todo.is_empty
    (row,) = of_plan(todo)
    assert (row.adapters.done, row.adapters.stale, row.scores.done, row.scores.stale) == (24, 0, 300, 0)
    assert of_store(store)[0] == [row]
    stored = store.read_grid()
    assert stored is not None
    assert all(now.equals(then) for now, then in zip(grid.tables(), stored, strict=True))


def test_programs_are_told_how_it_stands(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main([store.uri, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (model,) = told["models"]
    assert (told["study"], told["held_by"], told["failures"]) == ("quickstart", None, [])
    assert model["adapters"] == {"done": 24, "stale": 0, "failed": 0, "to_do": 0}
    assert (model["model"], model["scores"]["done"], model["device_seconds_left"]) == ("polyglot-nano", 300, 0)


def test_its_small_files_say_what_they_said(store: Store, grid: Grid) -> None:
    study, records = read_study(store), store.records()
    assert study is not None
    assert study.is_trial_run
    assert (study.name, study.trainer_resources, study.evaluator_resources) == ("quickstart", {"CPU": 1}, {"CPU": 1})
    assert [model.identity for model in study.models] == [model.identity for model in grid.models]
    assert records.keys() == {unit.adapter_id for unit in grid.adapters}
    for unit in grid.adapters:
        record = records[unit.adapter_id]
        assert (record.folder, record.seed, record.source) == (unit.folder, unit.seed, (str(unit.source),))
        assert record.course.best == record.course.epochs[0]
        assert record.files.keys() == {"adapter_config.json", "adapter_model.safetensors"}


def test_its_small_files_would_be_written_as_they_are(store: Store, tmp_path: Path) -> None:
    study, copy = read_study(store), Store(str(tmp_path))
    assert study is not None
    write_study(copy, study)
    assert copy.read(STUDY_FILE) == store.read(STUDY_FILE)
    for record in store.records().values():
        then = {key: value for key, value in record.to_json().items() if key not in SINCE}
        then["epochs"] = [
            {k: v for k, v in asdict(one).items() if k not in SINCE_EPOCHS} for one in record.course.epochs
        ]
        then["tokens"] = {k: v for k, v in asdict(record.course.tokens).items() if k not in SINCE_TOKENS}
        text = json.dumps(then, indent=1, sort_keys=True, allow_nan=False)
        assert text.encode() == store.read(f"{record.folder}/{RECORD_FILE}")


def test_its_report_has_the_figures_that_it_had(store: Store, tmp_path: Path) -> None:
    """What is read off Δ is as it was; what was claimed of it was too much, and is withdrawn."""
    study = load_store(store.uri)
    write_tables(make_all(TABLES, study), study, tmp_path)
    then = {file.stem: file for file in Path(store.path("report/tables")).glob("*.csv")}
    assert then.keys() <= {file.stem for file in tmp_path.glob("*.csv")}
    for name, file in then.items():
        if name in ("columns", "significance", "rank_stability", "health"):
            continue
        old, new = (pl.read_csv(one, infer_schema_length=None) for one in (file, tmp_path / f"{name}.csv"))
        lost = set(old.columns) - set(new.columns)
        assert lost <= {"donor_se", "recipient_se", "n_models"}, (name, lost)
        old = old.drop(*lost, *{"note", "on_frontier"} & set(old.columns))  # ties are off the frontier now
        fitted = name.startswith("variance")  # the end of an optimiser; refits stopped a little before theirs
        if fitted:
            assert_frame_equal(new.select("share_se"), old.select("share_se"), rel_tol=1e-3)
            old = old.drop("share_se")
        assert_frame_equal(new.select(old.columns), old, rel_tol=1e-6 if fitted else 1e-9, abs_tol=1e-12)
