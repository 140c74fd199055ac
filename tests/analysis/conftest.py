"""Stores and frames that several tests read."""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")

from pathlib import Path

import polars as pl
import pytest

from analysis.page import files
from analysis.reading.study import Study, load_store
from tests.support.synth import Shape, write_store
from tests.support.transfers import grid


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at tables or the page only: figure files take most of a small report's time."""
    monkeypatch.setattr(files, "write_figures", lambda *_: None)


@pytest.fixture(scope="session")
def shape() -> Shape:
    return Shape(models=(("tiny-0.5B", 0.5), ("small-3B", 3.0)), items=24)


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory, shape: Shape) -> Path:
    root = tmp_path_factory.mktemp("full") / "store"
    write_store(root, shape)
    return root


@pytest.fixture(scope="session")
def study(store_path: Path) -> Study:
    return load_store(str(store_path))


@pytest.fixture(params=[(0.0, False), (0.4, False), (0.0, True)], ids=["full", "incomplete", "ties"])
def transfer(request: pytest.FixtureRequest) -> pl.DataFrame:
    return grid(drop=request.param[0], ties=request.param[1])
