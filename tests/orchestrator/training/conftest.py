"""What the tests of this folder share: a tiny world, and a cluster that is started once for all of them.

Its unit tests, which need neither, are not to import what trains: that is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_ray import local_ray
from tests.support.tiny_models import make_model
from tests.support.tiny_world import make_tasks


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from tests.support.trials import LANGUAGES, TASKS

    folder = tmp_path_factory.mktemp("world")
    return make_model(folder / "tiny", spread=0.2), make_tasks(folder / "tasks", TASKS, LANGUAGES)


@pytest.fixture(scope="package")
def cluster() -> Iterator[None]:
    with local_ray(cpus=4):
        yield
