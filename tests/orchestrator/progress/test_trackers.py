"""Trackers for real, offline: what was logged is read back from what they left on disk."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from orchestrator.planning.plan import plan
from orchestrator.progress import trackers as tracking
from orchestrator.progress.means import Means
from orchestrator.progress.trackers import OPEN, Tracking
from study.cells import Cell, Source
from study.config import StudyConfig
from study.config.file import parse
from study.errors import ConfigError
from study.store.layout import RECORD_FILE
from study.store.store import Store
from study.units import AdapterUnit, ScoreUnit
from tests.orchestrator.planning.test_plan import TEXT, grid_of, scored, trained
from tests.support import trackers
from tests.support.rows import record_text
from tests.support.tiny_models import make_model
from tests.support.tiny_world import make_config, make_tasks, sweep

UNIT = AdapterUnit("id", "m", Source.of([Cell("arc", "en")]), 17)
EPOCHS = [{"epoch": n, "train_loss": 1.0 / n, "validation_loss": 2.0 / n, "learning_rate": 1e-4} for n in (1, 2)]


def config_of(folder: Path, *track: str) -> StudyConfig:
    return parse(
        f"study: tracked\nstore: {folder}/store\nmodels: [{{id: m}}]\nlanguages: [en]\n"
        f"tasks: [{{name: arc, lm_eval: 'arc_{{language}}'}}]\ntrack: [{', '.join(track)}]"
    )


def run(config: StudyConfig) -> list[str]:
    """Log a little of everything. Returns the warnings."""
    warnings: list[str] = []
    store = Store(config.store)
    tracked = Tracking(config, store, warnings.append)
    store.write(f"{UNIT.folder}/{RECORD_FILE}", record_text(UNIT.adapter_id, epochs=EPOCHS))
    tracked.trained(UNIT, tracked.course(UNIT))
    tracked.scored(str(UNIT), {})
    tracked.scored(str(UNIT), {"acc": 0.5})
    tracked.progress({"scores_done": 2.0})
    tracked.close()
    return warnings


def logged(seen: trackers.Logged) -> set[tuple[str, int | None, float]]:
    """With the steps of epochs; those of the others are seconds."""
    return {(name, step if name.startswith("loss/") else None, round(value, 6)) for name, step, value in seen}


def expected(unit: str) -> set[tuple[str, int | None, float]]:
    losses = {
        (f"loss/{unit}/{kind}", epoch["epoch"], round(epoch[kind], 6))
        for epoch in EPOCHS
        for kind in ("train_loss", "validation_loss", "learning_rate")
    }
    return losses | {(f"score/{unit}/acc", None, 0.5), ("progress/scores_done", None, 2.0)}


def test_tensorboard_event_files(tmp_path: Path) -> None:
    assert run(config_of(tmp_path, "tensorboard")) == []
    assert logged(trackers.tensorboard(tmp_path / "store/logs/tensorboard")) == expected("m/arc/_en_/17")


@pytest.mark.processes
def test_mlflow_in_a_local_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # a server of one's own
    assert run(config_of(tmp_path, "mlflow")) == []
    assert logged(trackers.mlflow(tmp_path / "store/logs/mlflow")) == expected("m/arc/_en_/17")
    with sqlite3.connect(tmp_path / "store/logs/mlflow/mlflow.db") as database:
        assert database.execute("select status from runs").fetchall() == [("FINISHED",)]
    assert list((tmp_path / "store/logs/mlflow/artifacts").rglob("config.json"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]  # nothing is left in the working directory


@pytest.mark.processes
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert run(config_of(tmp_path, "wandb")) == []
    assert logged(trackers.wandb(tmp_path / "store/logs/wandb")) == expected("m/arc/[en]/17")


def test_a_record_that_cannot_be_read_ends_neither_the_study_nor_its_trackers(tmp_path: Path) -> None:
    config, warnings = config_of(tmp_path, "tensorboard"), []
    tracked = Tracking(config, Store(config.store), warnings.append)
    tracked.trained(UNIT, tracked.course(UNIT))
    tracked.scored(str(UNIT), {"acc": 0.5})
    tracked.close()
    assert [warning.partition(":")[0] for warning in warnings] == [
        "trackers are not told how m/arc/[en]/17 was trained"
    ]
    assert trackers.tensorboard(tmp_path / "store/logs/tensorboard")


def test_a_mean_is_over_all_targets_that_have_a_score(tmp_path: Path) -> None:
    """Also over those that the store had before, whatever it holds twice or of an older config, less what failed."""
    grid, store = grid_of(parse(TEXT)), Store(str(tmp_path))
    first, second, third = (list(grid.units(part)) for part in list(grid.parts())[:3])
    put(store, first[0], 0.5)
    put(store, first[0], 0.5)
    put(store, replace(first[1], target_id="older"), 100.0)
    done = [first[0], *second[:3]]
    for unit in second[:3]:
        put(store, unit, 1.0)
    means = Means(plan(grid, trained(grid), scored(done)), store)
    assert [means.scored(unit.subject_id, {"acc": 0.1}) for unit in first[1:3]] == [{}, {}]
    assert means.scored(first[3].subject_id, {"acc": 0.1}) == {"acc": pytest.approx(0.2)}
    assert means.failed(second[3].subject_id) == {"acc": 1.0}
    assert [means.failed(unit.subject_id) for unit in third] == [{}] * 4


def put(store: Store, unit: ScoreUnit, value: float) -> None:
    row = {
        **unit.keys(), "subject_id": unit.subject_id, "target_id": unit.target_id, "metric": "acc", "value": value,
        "stderr": None, "n_items": 1, "seconds": 1.0, "tokens": 1, "device": "cpu", "engine": "", "base_compared": None,
        "day_fixed": None, "higher_is_better": None, "headline": None, "replicates": None,
        "written_at": datetime.now(UTC),
    }  # fmt: skip
    store.append([], [row])


@pytest.mark.processes
def test_a_whole_study_tells_every_tracker_what_is_in_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two runs: the second one makes the scores of one more target, and means are over both."""
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it for the rest of a process
    tasks = make_tasks(tmp_path / "tasks", ["next"], ["xx", "yy"])
    model = make_model(tmp_path / "tiny", spread=0.2)
    targets = ["next/xx"]
    config = make_config(tmp_path, [model], ["next"], ["xx", "yy"], tasks, track=list(OPEN), targets=targets)
    for override in ([], ["--set", "targets=all"]):
        ended = sweep(config, *override)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "no longer told" not in ended.stdout
    store, logs = Store(str(tmp_path / "store")), tmp_path / "store" / "logs"
    scores = pl.DataFrame(pl.from_arrow(store.scores())).with_columns(pl.col("seed").is_null().alias("base"))
    for read, name in ((trackers.tensorboard, "tensorboard"), (trackers.mlflow, "mlflow"), (trackers.wandb, "wandb")):
        seen = read(logs / name)
        for record in store.records().values():
            language = record.source[0].partition("/")[2]
            unit = f"tiny/next/[{language}]/1" if name == "wandb" else f"tiny/next/_{language}_/1"
            own = scores.filter(pl.col("adapter_id") == record.adapter_id, pl.col("metric") == "acc")
            assert _last(seen, f"score/{unit}/acc") == pytest.approx(own["value"].mean(), abs=1e-6)
            for epoch in record.course.epochs:
                value = {step: value for what, step, value in seen if what == f"loss/{unit}/train_loss"}
                assert value[epoch.epoch] == pytest.approx(epoch.train_loss, abs=1e-6)
        base = scores.filter(pl.col("base"), pl.col("metric") == "acc")
        assert len(base) == 2
        assert _last(seen, "score/tiny/base/acc") == pytest.approx(base["value"].mean(), abs=1e-6)
        assert _last(seen, "progress/scores_done") == 6


def _last(seen: trackers.Logged, name: str) -> float:
    return [value for what, _, value in seen if what == name][-1]


def test_a_tracker_that_is_not_installed_is_an_error_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tracking.LIBRARIES, "wandb", "no_such_library")
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[wandb\]'"):
        tracking.check(config_of(tmp_path, "wandb"))


def test_a_tracker_that_fails_is_dropped_and_the_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, *_: object) -> None:
            pass

        def log(self, *_: object) -> None:
            raise OSError("no network")

    monkeypatch.setitem(tracking.OPEN, "wandb", Broken)
    assert run(config_of(tmp_path, "wandb", "tensorboard")) == ["wandb is no longer told of this run: no network"]
    assert list((tmp_path / "store/logs/tensorboard").rglob("events*"))
