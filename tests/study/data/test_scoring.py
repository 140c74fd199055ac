"""`tasks[].scoring`: one task asked otherwise than the others, and in no identity but its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.planning.grid import expand
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.config.file import parse
from study.config.recipe import TaskScoring
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, TaskError
from study.identity import target_id
from tests.study.data.test_tasks import CELL, write

WRITES: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_choice": None,
    "doc_to_target": "note",
    "metric_list": [{"metric": "exact_match"}],
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
}
TWO = """
models: [{id: m}]
languages: [en]
tasks:
  - {name: a, lm_eval: "a_{language}", scoring: %s}
  - {name: b, lm_eval: "b_{language}"}
"""


def library(folder: Path, general: Scoring | None = None, **scoring: Any) -> TaskLibrary:
    task = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder), scoring=scoring)
    return TaskLibrary([task], general or Scoring())


def test_a_task_has_its_own_examples_and_the_study_the_rest(tmp_path: Path) -> None:
    write(tmp_path)
    for general, own, count in ((Scoring(num_fewshot=1), {}, 2), (Scoring(num_fewshot=1), {"num_fewshot": 3}, 4)):
        prompt = library(tmp_path, general, **own).build_requests(CELL)[0].args[0]
        assert prompt.count("Answer:") == count


def test_answers_begin_and_end_as_it_says(tmp_path: Path) -> None:
    write(tmp_path, **WRITES)
    tasks = library(tmp_path, gen_prefix="So:", max_gen_toks=3, until=[".", "!"])
    prompt, how = tasks.build_requests(CELL)[0].args
    assert prompt.endswith("Answer: So:")
    assert (how["max_gen_toks"], list(how["until"])) == (3, [".", "!"])
    plain = library(tmp_path)
    assert plain.build_requests(CELL)[0].args[1]["max_gen_toks"] == 8
    assert tasks.examples(CELL)[0].prompt.endswith("Answer: So:")
    assert len({one.target_fingerprint(CELL, one.build_requests(CELL)) for one in (tasks, plain)}) == 2


def test_a_beginning_of_answers_stands_in_examples_too_as_lm_evals_own_does(tmp_path: Path) -> None:
    general, own = Scoring(num_fewshot=2), {"fewshot_config": {"gen_prefix": "Thus:"}}
    for name, keys, told in (("plain", {}, "So:"), ("stated", own, "Thus:"), ("file", {"gen_prefix": "Now:"}, "So:")):
        write(tmp_path / name, **WRITES, **keys)
        write(tmp_path / f"{name}_full", **WRITES, **keys | {"gen_prefix": "So:"})
        ours = library(tmp_path / name, general, gen_prefix="So:").build_requests(CELL)
        assert [one.args for one in ours] == [
            one.args for one in library(tmp_path / f"{name}_full", general).build_requests(CELL)
        ]
        assert ours[0].args[0].count(f"Answer: {told} x") == 2


def test_limits_of_answers_are_for_tasks_that_write(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(TaskError, match=r"tasks\[quiz\].scoring.max_gen_toks: is of answers that are written"):
        library(tmp_path, max_gen_toks=3).load(CELL)


def test_only_the_task_itself_is_scored_anew() -> None:
    cells = {Cell("a", "en"): "print a", Cell("b", "en"): "print b"}
    plain, shots = (expand(parse(TWO % own), [], {}, cells).target_ids for own in ("{}", "{num_fewshot: 2}"))
    assert plain == tuple(target_id(one, Scoring()) for one in cells.values())
    assert (plain[0] != shots[0], plain[1] == shots[1]) == (True, True)


def test_a_task_that_is_not_asked_in_a_chat_has_no_part_of_one() -> None:
    general = Scoring(apply_chat_template=True, system_prompt="Be brief.")
    assert TaskScoring(apply_chat_template=False).over(general) == Scoring()
    assert TaskScoring(system_prompt="Be long.").over(general).system_prompt == "Be long."
    with pytest.raises(ConfigError, match=r"tasks\[a\].scoring.system_prompt"):
        parse(TWO % "{system_prompt: x}")
    for own in ("{apply_chat_template: false, system_prompt: x}", "{chat_template_args: {a: 1}}"):
        with pytest.raises(ConfigError, match=r"tasks\[a\].scoring.*is a part of a chat"):
            parse(TWO % own + f"scoring: {{apply_chat_template: {str('false' in own).lower()}}}\n")
    parse(TWO % "{apply_chat_template: false}" + "scoring: {apply_chat_template: true, system_prompt: x}\n")
