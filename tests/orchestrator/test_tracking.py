"""Trackers for real, offline: what was logged is read back from what they left on disk."""

from __future__ import annotations

import json
import sqlite3
import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from orchestrator import tracking
from orchestrator.tracking import Tracking
from study.cells import Cell, Source
from study.config import StudyConfig
from study.errors import ConfigError
from study.load import parse
from study.store import RECORD_FILE, Store
from study.units import AdapterUnit

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
    store.write(f"{UNIT.folder}/{RECORD_FILE}", json.dumps({"epochs": EPOCHS}).encode())
    tracked.trained(UNIT)
    tracked.scored(str(UNIT), {})
    tracked.scored(str(UNIT), {"acc": 0.5})
    tracked.progress({"scores_done": 2.0})
    tracked.close()
    return warnings


def test_tensorboard_event_files(tmp_path: Path) -> None:
    assert run(config_of(tmp_path, "tensorboard")) == []
    (file,) = (tmp_path / "store/logs/tensorboard").rglob("events*")
    data, at, seen = file.read_bytes(), 0, []
    while at < len(data):  # length, its checksum, the event, its checksum
        (length,) = struct.unpack_from("<Q", data, at)
        event = Event.FromString(data[at + 12 : at + 12 + length])
        seen += [(value.tag, event.step, round(value.simple_value, 6)) for value in event.summary.value]
        at += 16 + length
    assert ("loss/m/arc/_en_/17/train_loss", 2, 0.5) in seen
    assert [value for tag, _, value in seen if tag == "score/m/arc/_en_/17/acc"] == [0.5]
    assert [value for tag, _, value in seen if tag == "progress/scores_done"] == [2.0]


def test_mlflow_in_a_local_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(config_of(tmp_path, "mlflow")) == []
    with sqlite3.connect(tmp_path / "store/logs/mlflow/mlflow.db") as database:
        rows = database.execute("select key, value, step from metrics").fetchall()
        status = database.execute("select status from runs").fetchall()
    assert ("loss/m/arc/_en_/17/validation_loss", 1.0, 2) in rows
    assert [value for key, value, _ in rows if key.startswith("score/")] == [0.5]
    assert status == [("FINISHED",)]
    assert list((tmp_path / "store/logs/mlflow/artifacts").rglob("config.json"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]  # nothing is left in the working directory


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert run(config_of(tmp_path, "wandb")) == []
    (file,) = (tmp_path / "store/logs/wandb/wandb").glob("offline-run-*/run-*.wandb")
    data = file.read_bytes()
    assert b"loss/m/arc/[en]/17/train_loss" in data
    assert b"score/m/arc/[en]/17/acc" in data


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
