"""Requests are made once per tokenizer, in Ray's object store; where a tokenizer fails, that is said once."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
import ray

from evaluators import items
from evaluators.items.encoder import encoder_of
from evaluators.items.tokenised import tokenised
from orchestrator.scoring.requests import StudyRequests, _import, begin_importing
from study.cells import Cell
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.models.resolve import Model, resolve_all
from tests.support.local_ray import local_ray
from tests.support.tiny_models import make_model
from tests.support.tiny_world import make_config, make_tasks

CELLS = [Cell("next", "xx"), Cell("next", "yy")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_ray(cpus=1):
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[TaskLibrary, list[Model]]:
    """Two models of one tokenizer, one of another, and one whose tokenizer was spoilt."""
    folder = tmp_path_factory.mktemp("requests")
    folders = [make_model(folder / "a"), make_model(folder / "b", seed=1), make_model(folder / "c", bos=False)]
    folders.append(Path(shutil.copytree(folders[0], folder / "spoilt")))
    file = folders[3] / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model": {"type": "Nonsense"}}))
    tasks = make_tasks(folder / "tasks", ["next"], ["xx", "yy"])
    config = load(str(make_config(folder, folders, ["next"], ["xx", "yy"], tasks)))
    return TaskLibrary.of(config), resolve_all(config)


def test_models_of_one_tokenizer_share_requests_that_are_made_once(
    cluster: None, study: tuple[TaskLibrary, list[Model]]
) -> None:
    library, models = study
    warnings: list[str] = []
    requests = StudyRequests(library, models, warnings.append)
    first = requests.refs("a", CELLS)
    assert requests.refs("a", CELLS) == requests.refs("b", CELLS) == first
    assert set(requests.refs("c", CELLS).values()).isdisjoint(first.values())
    for cell in CELLS:
        _, own = tokenised(library, encoder_of(models[1]), cell)
        assert ray.get(first[cell]).equals(own)
    assert warnings == []


def test_a_tokenizer_that_fails_is_told_of_once_and_not_asked_again(
    cluster: None, study: tuple[TaskLibrary, list[Model]]
) -> None:
    library, models = study
    warnings: list[str] = []
    requests = StudyRequests(library, models, warnings.append)
    assert [requests.refs("spoilt", [cell]) for cell in CELLS] == [{}, {}]
    assert len(warnings) == 1
    assert warnings[0].startswith("spoilt: requests are not shared")
    assert set(requests.refs("a", CELLS)) == set(CELLS)


def test_nobody_waits_for_what_encodes_them_to_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, imported = Event(), Event()
    monkeypatch.setattr("orchestrator.scoring.requests._import", lambda: goes_on.wait(60) and imported.set())
    begin_importing()
    assert not imported.is_set()
    goes_on.set()
    assert imported.wait(60)


def test_what_encodes_them_is_what_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """That it cannot be imported is not said there."""
    monkeypatch.setattr(items, "tokenised", None)
    monkeypatch.delitem(sys.modules, tokenised.__module__)
    _import()
    assert tokenised.__module__ in sys.modules
