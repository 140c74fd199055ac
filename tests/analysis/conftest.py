"""Stores and frames that several tests read."""

from __future__ import annotations

import os
from dataclasses import replace

os.environ.setdefault("POLARS_MAX_THREADS", "1")

from pathlib import Path

import polars as pl
import pytest

from analysis.page import files
from analysis.reading.study import Study, load_store
from analysis.tables.registry import TABLES, Made, make_all
from study.prompts import Prompts
from study.store import schema
from study.store.store import Store
from tests.support.synth import Shape, ident, write_store
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


@pytest.fixture(scope="session")
def made(study: Study) -> dict[str, Made]:
    """Every table of it."""
    return make_all(TABLES, study)


@pytest.fixture(params=[(0.0, False), (0.4, False), (0.0, True)], ids=["full", "incomplete", "ties"])
def transfer(request: pytest.FixtureRequest) -> pl.DataFrame:
    return grid(drop=request.param[0], ties=request.param[1])


ASKED = Shape(models=(("tiny", 0.5), ("small", 3.0)), tasks=("names", "sums"), languages=("de", "en"), items=60)
HOSTILE = '</script><script>alert(1)</script><!-- \u2028 \u2029 <img src=x onerror=alert(2)> \\ " &amp;'


def questions(target: str, items: int) -> list[dict[str, object]]:
    """What a target asks; its first item is hostile, its second is of another document than was answered."""
    task, language = target.split("/")
    return [
        {
            "doc_id": i,
            "doc_hash": "other" if i == 1 else ident((task, language), i),
            "prompt": f"{HOSTILE if i == 0 else 'Which?'} {i} in {language}",
            "options": [f" option {option} {HOSTILE if i == 0 else ''}" for option in range(4)],
            "reference": None,
        }
        for i in range(items)
    ]


@pytest.fixture(scope="session")
def asked_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Prompts of all but sums/de; in chats small is asked names/en, which alone is known, and sums/en beside tiny."""
    found = write_store(tmp_path_factory.mktemp("asked") / "store", ASKED)
    Prompts(found).keep(("names/de", None), schema.table(schema.PROMPTS, questions("names/de", 60)))
    for target in ("names/en", "sums/en"):
        own = [row | {"prompt": f"<turn>{row['prompt']}"} for row in questions(target, 60)]
        Prompts(found).keep((target, "small"), schema.table(schema.PROMPTS, own))
    Prompts(found).keep(("sums/en", None), schema.table(schema.PROMPTS, questions("sums/en", 60)))
    return found


@pytest.fixture(scope="session")
def asked_report(asked_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study beside another of its models, of fewer items."""
    other = tmp_path_factory.mktemp("beside") / "other"
    write_store(other, replace(ASKED, models=ASKED.models[:1], items=30, seed=1))
    folder = tmp_path_factory.mktemp("report")
    (folder / "items").mkdir()
    (folder / "items" / "999-gone.js").write_text('shown({"task":"gone"});\n')
    (folder / "items" / "mine.js").write_text("alert(1);\n")
    (folder / "items-mine.html").write_text("<title>Mine</title>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "write_figures", lambda *_: None)
        files.write(load_store(asked_store.uri), folder, [load_store(str(other))])
    return folder
