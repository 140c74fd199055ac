"""The example of other shapes: its data are what its script makes, and every cell can be learned and asked offline."""

from __future__ import annotations

import runpy
from pathlib import Path

from study.config.expansion import cells_used
from study.config.file import load
from study.data.tasks import TaskLibrary
from tests.support.tiny_world import REPOSITORY

FOLDER = REPOSITORY / "examples" / "shapes"


def test_its_data_are_what_its_script_makes(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    made = runpy.run_path(str(FOLDER / "build.py"))
    made["main"].__globals__["HERE"] = tmp_path
    made["main"]()
    files = sorted(file.name for file in (FOLDER / "data").iterdir())
    assert files == sorted(file.name for file in (tmp_path / "data").iterdir())
    for name in files:
        assert (tmp_path / "data" / name).read_bytes() == (FOLDER / "data" / name).read_bytes()


def test_every_cell_of_it_can_be_learned_and_asked() -> None:
    config = load(FOLDER / "study.yaml")
    library = TaskLibrary.of(config)
    library.check(cells_used(config))
    formats = {}
    for source in config.source_list():
        examples = library.source_examples(source)
        formats[source.task] = {(one.format, one.append_eos) for one in examples}
        assert len(library.example_fingerprints(source)) == 1
    assert formats == {
        "digest": {(None, True)},
        "claims": {(None, False)},
        "facts": {("prompt_completion", True)},
        "prose": {("text", True)},
    }
    assert [cell.task for cell in config.target_list()] == ["digest"] * 3 + ["claims"] * 3
    for cell in config.target_list():
        assert library.target_fingerprint(cell, library.build_requests(cell))
