"""Whose Python runs. Before, a folder of YAML files was enough: what `!function` named was imported while planning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from study.cells import Cell, Source
from study.config import Scoring, TaskConfig
from study.data.code import LM_EVAL, first_code
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, TaskError
from tests.study.data.test_tasks import CELL as QUIZ
from tests.study.data.test_tasks import Function, write

CELL = Cell("own", "en")
TASK = "task: own_en\ndataset_path: json\noutput_type: multiple_choice\ntest_split: test\n"
UTF16 = "\ufeff"  # what such a file begins with
EVIL = "FOLDER/evil.py"
WAYS = {
    "at the top": {"own.yaml": TASK + "process_docs: !function evil.run\n"},
    "in a list": {"own.yaml": TASK + "metric_list: [{metric: !function evil.run}]\n"},
    "as the class": {"own.yaml": TASK + "class: !function evil.Task\n"},
    "included": {"own.yaml": TASK + "include: base\n", "base": "doc_to_text: !function evil.run\n"},
    "included twice": {"own.yaml": TASK + "include: [b1]\n", "b1": "include: b2\n", "b2": "x: !function evil.run\n"},
    "by an alias": {"own.yaml": TASK + "metadata: &a [!function evil.run]\nprocess_docs: *a\n"},
    "by another tag": {"own.yaml": "%TAG !e! !func\n---\n" + TASK + "process_docs: !e!tion evil.run\n"},
    "in another encoding": {"own.yaml": UTF16 + TASK + "process_docs: !function evil.run\n"},
    "included in one": {"own.yaml": TASK + "include: base\n", "base": UTF16 + "doc_to_text: !function evil.run\n"},
    "as a metric's name": {"own.yaml": TASK + f"metric_list: [{{metric: {EVIL}}}]\n"},
    "as a metric elsewhere": {"own.yaml": TASK + f"metric_list: [{{metric: {EVIL}, hf_evaluate: yes}}]\n"},
    "as a known one's name": {"own.yaml": TASK + "metric_list: [{metric: acc, hf_evaluate: true}]\n"},
    "by merging": {"own.yaml": TASK + f"metadata: &a {{metric: {EVIL}}}\nmetric_list: [{{<<: *a}}]\n"},
}


def library(folder: Path, trust: bool) -> TaskLibrary:
    task = TaskConfig(name="own", lm_eval="own_{language}", include_path=str(folder), trust_code=trust)
    return TaskLibrary([task], Scoring())


@pytest.mark.parametrize(
    ("module", "fix"),
    [
        ("transformers.data.metrics.squad_metrics", "copy its YAML file without the `!function` lines"),
        ("no_such_module", "install it beside this package"),
    ],
)
def test_code_that_imports_what_is_not_there_is_told_in_a_line(tmp_path: Path, module: str, fix: str) -> None:
    """As that of lm-eval's record, coqa and xquad does, whose judge transformers 5 has no more."""
    write(tmp_path, process_results=Function("gone.judge"))
    (tmp_path / "gone.py").write_text(f"from {module} import compute_f1 as judge\n")
    own = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path), trust_code=True)
    with pytest.raises(TaskError) as told:
        TaskLibrary([own], Scoring()).load(QUIZ)
    assert str(told.value).startswith("quiz/en: lm-eval task quiz_en cannot be loaded: ModuleNotFoundError: No module ")
    assert fix in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("way", WAYS)
def test_code_that_nobody_has_allowed_does_not_run(tmp_path: Path, way: str) -> None:
    for name, text in WAYS[way].items():
        encoding = "utf-16-le" if text.startswith(UTF16) else "utf-8"
        (tmp_path / name).write_text(text.replace("FOLDER", str(tmp_path)), encoding)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nrun = Task = print\n")
    for ask in (lambda tasks: tasks.check([CELL]), lambda tasks: tasks.load(CELL)):
        with pytest.raises(ConfigError) as refused:
            ask(library(tmp_path, trust=False))
        assert refused.value.key == "tasks[own].trust_code"
        assert str(tmp_path) in refused.value.problem
        assert re.search("evil.|hf_evaluate", refused.value.problem)
        assert "\n" not in refused.value.problem
    library(tmp_path, trust=True).check([CELL])
    assert not (tmp_path / "ran").exists()


def test_who_is_trusted_is_in_no_identity(tmp_path: Path) -> None:
    """An `include_path` of one's own became trusted later: nothing is scored or trained again for that."""
    write(tmp_path)
    found = []
    for trust in (True, False):
        task = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path), trust_code=trust)
        tasks = TaskLibrary([task], Scoring())
        source = Source.of([QUIZ])
        found.append((tasks.target_fingerprint(QUIZ, tasks.build_requests(QUIZ)), tasks.example_fingerprints(source)))
    assert found[0] == found[1]


def test_what_lm_eval_ships_is_trusted(tmp_path: Path) -> None:
    theirs = next(file for file in sorted(LM_EVAL.rglob("*.yaml")) if "!function" in file.read_text("utf-8"))
    assert first_code(theirs) is None
    (tmp_path / "own.yaml").write_text(f"{TASK}include: {theirs}\n")
    library(tmp_path, trust=False).check([CELL])


def test_a_file_that_cannot_be_read_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"{TASK}include: base\n")
    (tmp_path / "base").write_text("x: [")
    where, what = first_code(tmp_path / "own.yaml") or (None, "")
    assert where == tmp_path / "base"
    assert "cannot be known" in what


def test_a_misspelt_metric_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"{TASK}metric_list: [{{metric: acc_nrom}}]\n")
    with pytest.raises(ConfigError, match=r"'acc_nrom', which .* did you mean acc_norm"):
        library(tmp_path, trust=False).check([CELL])
