"""Whose Python runs. Before, a folder of YAML files was enough: what `!function` named was imported while planning."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.data.code import LM_EVAL, first_function
from study.data.tasks import TaskLibrary
from study.errors import ConfigError

CELL = Cell("own", "en")
TASK = "task: own_en\ndataset_path: json\noutput_type: multiple_choice\ntest_split: test\n"
WAYS = {
    "at the top": {"own.yaml": TASK + "process_docs: !function evil.run\n"},
    "in a list": {"own.yaml": TASK + "metric_list: [{metric: !function evil.run}]\n"},
    "as the class": {"own.yaml": TASK + "class: !function evil.Task\n"},
    "included": {"own.yaml": TASK + "include: base\n", "base": "doc_to_text: !function evil.run\n"},
    "included twice": {"own.yaml": TASK + "include: [b1]\n", "b1": "include: b2\n", "b2": "x: !function evil.run\n"},
    "by an alias": {"own.yaml": TASK + "metadata: &a [!function evil.run]\nprocess_docs: *a\n"},
    "by another tag": {"own.yaml": "%TAG !e! !func\n---\n" + TASK + "process_docs: !e!tion evil.run\n"},
}


def library(folder: Path, trust: bool) -> TaskLibrary:
    task = TaskConfig(name="own", lm_eval="own_{language}", include_path=str(folder), trust_code=trust)
    return TaskLibrary([task], Scoring())


@pytest.mark.parametrize("way", WAYS)
def test_code_that_nobody_has_allowed_does_not_run(tmp_path: Path, way: str) -> None:
    for name, text in WAYS[way].items():
        (tmp_path / name).write_text(text)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nrun = Task = print\n")
    for ask in (lambda tasks: tasks.check([CELL]), lambda tasks: tasks.load(CELL)):
        with pytest.raises(ConfigError) as refused:
            ask(library(tmp_path, trust=False))
        assert refused.value.key == "tasks[own].trust_code"
        assert str(tmp_path) in refused.value.problem
        assert "evil." in refused.value.problem
        assert "\n" not in refused.value.problem
    library(tmp_path, trust=True).check([CELL])
    assert not (tmp_path / "ran").exists()


def test_what_lm_eval_ships_is_trusted(tmp_path: Path) -> None:
    theirs = next(file for file in sorted(LM_EVAL.rglob("*.yaml")) if "!function" in file.read_text("utf-8"))
    assert first_function(theirs) is None
    (tmp_path / "own.yaml").write_text(f"{TASK}include: {theirs}\n")
    library(tmp_path, trust=False).check([CELL])
