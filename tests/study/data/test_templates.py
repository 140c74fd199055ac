"""Templates read documents and run no code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jinja2.exceptions import SecurityError
from lm_eval import utils

from study.cells import Cell
from study.config import Scoring, TaskConfig, TrainOverride
from study.data.tasks import TaskLibrary
from study.data.templates import use_sandbox
from study.errors import TaskError
from tests.evaluators.conftest import make_docs, write_task

DOC = {"question": "Wien?\n", "choices": ["a b", "c"], "answer": 1}
HARMLESS = {
    "{{question}}Answer:": "Wien?\nAnswer:",
    "{{question.strip()}} {{choices[answer]}}\n": "Wien? c\n",
    "{{choices[0] | regex_replace('a', 'x')}}": "x b",
    "{{['b', 'c'].index(choices[answer])}}": "1",
    "{{choices[0].split(' ')[:-1] | join(' ')}}{% set it = 3 %}{{it * 2}}": "a6",
}
HARMFUL = [
    "{{ cycler.__init__.__globals__.os.system('touch F') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ self.__init__.__globals__['__builtins__'].open('F', 'w') }}",
    "{{ lipsum.__globals__['os'].popen('touch F').read() }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(question) }}",
    "{% set _ = choices.append('d') %}",
]


@pytest.fixture(autouse=True)
def sandboxed() -> None:
    use_sandbox()


@pytest.mark.parametrize("template", HARMLESS)
def test_a_template_reads_its_document(template: str) -> None:
    assert utils.apply_template(template, DOC) == HARMLESS[template]


@pytest.mark.parametrize("template", HARMFUL)
def test_a_template_runs_no_code(template: str, tmp_path: Path) -> None:
    target = tmp_path / "F"
    before = json.dumps(DOC)
    with pytest.raises(SecurityError):
        utils.apply_template(template.replace("F", str(target)), DOC)
    assert not target.exists()
    assert json.dumps(DOC) == before


def test_a_template_is_compiled_once() -> None:
    assert utils.env.from_string("{{question}}") is utils.env.from_string("{{question}}")


@pytest.mark.parametrize("where", ["train", "doc_to_text", "doc_to_target", "doc_to_choice", "description"])
def test_no_template_of_a_task_or_a_config_runs_code(where: str, tmp_path: Path) -> None:
    target = tmp_path / "F"
    template = HARMFUL[0].replace("F", str(target))
    write_task(tmp_path / "tasks", "quiz_en", make_docs(4, seed=1), **({} if where == "train" else {where: template}))
    train = TrainOverride(doc_to_text=template) if where == "train" else TrainOverride()
    task = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path / "tasks"), train=train)
    library, cell = TaskLibrary([task], Scoring()), Cell("quiz", "en")
    with pytest.raises(TaskError, match="SecurityError"):
        library.examples(cell) if where == "train" else library.build_requests(cell)
    assert not target.exists()
