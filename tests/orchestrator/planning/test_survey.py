"""Looking at a study's data: what cannot be fetched for now is asked for again, and is no fault of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from evaluators.items.item import check_supported
from orchestrator.planning.remarks import remarks
from orchestrator.planning.survey import Survey, survey
from study.config.file import load, parse
from study.data.prompts import others
from study.data.tasks import TaskLibrary
from tests.support.tiny_world import make_config, make_tasks

TASKS = ("next", "skip", "turn")
DEFINITION = """
task: far_{language}
custom_dataset: !function far.fetch
metadata: {{url: {url}}}
output_type: multiple_choice
test_split: test
training_split: train
doc_to_text: "{{{{question}}}}"
doc_to_choice: options
doc_to_target: answer
metric_list: [{{metric: acc}}]
"""
CODE = """
import datasets
import requests

def fetch(**metadata):
    answer = requests.get(metadata["url"])
    answer.raise_for_status()
    rows = datasets.Dataset.from_list(answer.json())
    return {"train": rows, "test": rows}
"""
ROWS = b'[{"question": "1, 2,", "options": ["3", "4"], "answer": 0}]'


class Server(ThreadingHTTPServer):
    """Answers with each of `answers` once, then with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.answers: list[int] = []
        self.asked = 0


class _Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(ROWS)))
        self.end_headers()
        self.wfile.write(ROWS)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def surveyed(folder: Path, server: Server, warnings: list[str], waits: int) -> Survey:
    (folder / "far.py").write_text(CODE)
    for language in ("xx", "yy"):
        url = f"http://127.0.0.1:{server.server_port}/{language}"
        (folder / f"far_{language}.yaml").write_text(DEFINITION.format(language=language, url=url))
    task = f"{{name: far, lm_eval: 'far_{{language}}', include_path: '{folder}', trust_code: true}}"
    config = parse(
        f"models: [{{id: none}}]\nlanguages: [xx, yy]\ntasks: [{task}]\nfailures: {{transient: {waits}}}\n"
        "sources: [far/xx]"
    )
    return survey(config, TaskLibrary.of(config), check_supported, warnings.append)


def test_a_server_that_is_busy_is_asked_again(tmp_path: Path, server: Server) -> None:
    server.answers, warnings = [503], []
    found = surveyed(tmp_path, server, warnings, waits=1)
    assert (found.broken, len(found.sources), len(found.targets)) == ([], 1, 2)
    assert server.asked == 3  # xx twice, yy once: what was loaded is kept
    assert len(warnings) == 1
    assert "far/xx" in warnings[0]
    assert "503" in warnings[0]


def test_a_server_that_stays_down_is_waited_for_once_not_for_every_cell(tmp_path: Path, server: Server) -> None:
    server.answers, warnings = [503] * 4, []
    found = surveyed(tmp_path, server, warnings, waits=1)
    told = [(b.role, b.cell, b.kind, b.attempts) for b in found.broken]
    source, xx, yy = ("source", "far/xx"), ("target", "far/xx"), ("target", "far/yy")
    assert told == [(*source, "transient", 2), (*xx, "transient", 1), (*yy, "transient", 1)]
    assert len(warnings) == 1


def test_what_the_server_does_not_have_is_not_asked_for_again(tmp_path: Path, server: Server) -> None:
    server.answers, warnings = [404, 404], []
    found = surveyed(tmp_path, server, warnings, waits=3)
    assert [(b.cell, b.kind, b.attempts) for b in found.broken] == [("far/xx", "bad_data", 1)] * 2
    assert list(map(str, found.targets)) == ["far/yy"]
    assert (server.asked, warnings) == (3, [])


def kept_near(folder: Path, tasks: tuple[str, ...] = TASKS, more: Sequence[object] = ()) -> Survey:
    """What is found of a study whose adapters are kept near the base; two of its tasks are scored in one language."""
    targets = [f"{task}/xx" for task in tasks[1:]]
    config = load(
        make_config(
            folder,
            [Path("none")],
            list(tasks),
            ["xx", "yy"],
            folder,
            recipe={"keep_near_base": {"kl": 0.1}},
            sources=[["next/xx", "next/yy"], ["next/yy", "skip/yy"], *more],
            targets=targets,
        )
    )
    return survey(config, TaskLibrary.of(config), check_supported, print)


def test_prompts_are_of_tasks_that_a_source_has_not_and_their_answers_say_nothing(tmp_path: Path) -> None:
    folder = make_tasks(tmp_path, list(TASKS), ["xx", "yy"])
    found = kept_near(folder)
    one, two = found.sources
    near = {
        source: [prompts.examples[0].prompt[:5] for prompts in others(found.prompts, source)]
        for source in found.sources
    }
    assert (near[one], near[two]) == (["xx: 0", "yy: 0", "xx: 0"], ["xx: 0"])  # skip in both, turn where it is scored
    assert found.counts == {one: (24, 24), two: (24, 24)}
    assert [len(prints) for prints in found.sources.values()] == [3, 3]

    def changed(old: str, new: str) -> list[bool]:
        rows = folder / "turn_xx_train.jsonl"
        rows.write_text(rows.read_text().replace(old, new))
        later = kept_near(folder).sources
        return [mine != theirs for mine, theirs in zip(found.sources.values(), later.values(), strict=True)]

    assert changed('"answer": 1', '"answer": 2') == [False, False]
    assert changed("xx: 0", "xx: zero") == [True, True]


def test_a_stage_is_kept_near_on_no_task_that_it_learned_before(tmp_path: Path) -> None:
    folder = make_tasks(tmp_path, list(TASKS), ["xx", "yy"])
    stage: dict[str, object] = {"name": "after", "cells": "next/xx", "start_from": ["next/yy", "skip/yy"]}
    found = kept_near(folder, more=[stage])
    *_, two, last = found.sources
    assert str(last) == "next/xx@after"
    assert found.sources[last][-1] == found.sources[two][-1]
    assert others(found.prompts, last) == others(found.prompts, two)
    all_tasks = kept_near(folder, more=[stage, stage | {"name": "again", "cells": "turn/xx", "start_from": "after"}])
    assert [broken.cell for broken in all_tasks.broken] == ["turn/xx@again"], "its line has learned every task"


def test_cells_without_training_data_have_no_prompts(tmp_path: Path) -> None:
    """And where no other task has any, an adapter cannot be kept near the base."""
    folder = make_tasks(tmp_path, list(TASKS), ["xx", "yy"])
    for cell in ("skip_xx", "turn_xx"):
        file = folder / f"{cell}.yaml"
        file.write_text(file.read_text().replace("training_split: train\n", ""))
    found = kept_near(folder)
    assert [str(source) for source in found.sources] == ["next/xx+next/yy"]  # skip/yy is there
    assert [(broken.cell, broken.kind) for broken in found.broken] == [("next/yy+skip/yy", "bad_data")]
    assert "training prompts of other tasks" in found.broken[0].message
    told = "kept near the base on no prompts of skip/xx, turn/xx: no training data can be read there"
    assert told in remarks(found, {}, {})
