"""The tutorial from its first block to its last but one, which needs a network: as somebody follows it."""

from __future__ import annotations

import importlib
import runpy
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from study.store.seen import read_seen
from study.store.store import Store
from tests.support.pages import DOCS, blocks, commands
from tests.support.tiny_world import REPOSITORY, sweep

LAST = "'models=[{id: "  # of the Hub
FEWER = ("--limit", "12")  # rows to learn and to be asked, for the sake of time


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each command printed, by its words; all of them ended well."""
    folder, found = tmp_path_factory.mktemp("tutorial"), dict[str, str]()
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks("python", "yaml", "bash", of=[DOCS / "tutorial.md"]):
            if block.title:
                (file := Path(block.title)).parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text, encoding="utf-8")
            elif LAST not in block.text:
                found |= {" ".join(words): run(words) for words in commands(block.text)}
        known = read_seen(Store("runs/tickets")).tokens["polyglot-nano"]
    assert all(0 < known.fertility[name] < 1 for name in ("de", "en", "es"))
    assert known.overlap["de"]["de"] == pytest.approx(1.0)
    assert 0 < known.overlap["de"]["en"] < 1
    return found


def run(words: list[str]) -> str:
    if words[:2] == ["python", "mine/make.py"]:
        runpy.run_path(words[1])
        return ""
    assert words[:2] == ["python", "-m"]
    name, *arguments = words[2:]
    if name == "orchestrator.sweep":
        ended = sweep(Path(arguments[0]), *arguments[1:], *FEWER)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout
    out = StringIO()
    with redirect_stdout(out):
        assert importlib.import_module(name).main(arguments) == 0
    return out.getvalue()


def test_it_goes_as_it_says(said: dict[str, str]) -> None:
    assert len(said) == 8
    look, plan, done, status, report, target, source = list(said.values())[1:]
    assert "Department:⟦ billing⟧" in look
    assert "to be called worse" in plan
    assert "6" in done
    assert "done" in status
    assert "runs/tickets/report/index.html" in report
    assert "Sources for tickets/de" in target
    assert "tickets/de" in source
