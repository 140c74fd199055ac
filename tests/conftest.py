"""What several packages' tests share, and which tests run side by side."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 would starve its workers beside anything else that runs
os.environ.pop("COLUMNS", None)  # pytest-xdist's, by which tables would be as narrow as its own terminal

from tests.tiny_models import tiny_model_dir, tiny_model_no_bos_dir  # noqa: F401

ON_RAY = {"cluster", "faults", "orchestrator"}
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`-n 2 --dist loadgroup` runs those that start Ray clusters, which mostly wait, beside those that compute."""
    for item in items:
        on_ray = item.path.relative_to(HERE).parts[0] in ON_RAY
        item.add_marker(pytest.mark.xdist_group("ray" if on_ray else "computing"))
