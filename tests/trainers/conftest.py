"""One warm worker and one model for all trainer tests: what the tests of a process share."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.config import ModelConfig
from study.models.resolve import Model, resolve
from tests.support.training import shared_worker
from trainers.worker import Worker


@pytest.fixture(scope="session")
def worker() -> Worker:
    return shared_worker()


@pytest.fixture(scope="session")
def model(tiny_model_dir: Path) -> Model:
    return resolve(ModelConfig(id=str(tiny_model_dir)), "float32", "models[0]")
