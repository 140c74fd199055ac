"""The levels of tests, and fixtures that several packages' tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 would starve its workers beside anything else that runs
os.environ.setdefault("RAY_AUTH_MODE", "token")  # as a study's cluster has it: what it starts is a fork then
os.environ.setdefault("OMP_NUM_THREADS", "1")  # on tiny models threads mostly wait for one another

import adapters  # noqa: F401 - before PEFT, from which it hides a library
import orchestrator  # noqa: F401 - before Ray, which reads then what this sets
from tests.support import levels
from tests.support.tiny_models import tiny_model_dir, tiny_model_no_bos_dir  # noqa: F401

# On a busy machine an example takes as long as it takes: that is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    asks_for_units = config.option.markexpr == "unit"
    return True if asks_for_units and levels.is_apart(str(collection_path.relative_to(config.rootpath))) else None


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by it
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    levels.mark(items)
    if config.option.markexpr == "unit" and (more := levels.loaded()):
        raise pytest.UsageError(f"a file of unit tests imports {', '.join(more)}: see {levels.__file__}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with levels.held(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with levels.held(item):
        yield
