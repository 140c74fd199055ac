"""What an adapter learns of a task is what is scored, to the token: the zero-shot prompt and the right option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evaluators.items.encoder import encoder_of
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.data.gold import right_options
from study.data.tasks import TaskLibrary
from study.models.chat import tokenizer_of
from tests.evaluators.conftest import make_docs, model_of, write_task
from tests.evaluators.test_parity import CASES
from tests.evaluators.test_texts import ROLLING, WRITING
from trainers.data import tokenise

Case = tuple[dict[str, Any], dict[str, Any]]
MORE: dict[str, Case] = {
    "gen_prefix": ({"count": 6, "seed": 17}, {"gen_prefix": "The answer is"}),
    "gen_prefix that ends in a space": ({"count": 6, "seed": 18}, {"gen_prefix": "So: ", "target_delimiter": ""}),
    "gen_prefix after a prompt that ends in a space": (
        {"count": 6, "seed": 19},
        {"doc_to_text": "{{question}}\n", "gen_prefix": "{{choices[0]}} or"},
    ),
    "description": ({"count": 6, "seed": 20}, {"description": "Choose.\n\n"}),
    "its own few-shot": ({"count": 8, "seed": 21}, {"num_fewshot": 3}),
    "two inputs and gen_prefix": (
        {"count": 6, "seed": 22, "options": 2},
        {**CASES["two inputs, one continuation"][1], "gen_prefix": "plum"},
    ),
}
EVERY: dict[str, Case] = {**{name: (docs, changes) for name, (docs, changes, _) in CASES.items()}, **MORE}


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("case", EVERY)
def test_the_training_text_is_the_scored_gold_request(
    case: str, bos: bool, tmp_path: Path, outspoken_model: Path, outspoken_no_bos_model: Path
) -> None:
    docs, changes = EVERY[case]
    write_task(tmp_path, "quiz_en", make_docs(**docs), **changes)
    model, cell = model_of(outspoken_model if bos else outspoken_no_bos_model), Cell("quiz", "en")
    library = library_of(tmp_path, Scoring(num_fewshot=0))
    encoder, task = encoder_of(model), library.load(cell)
    instances = library.build_requests(cell)
    requests = encoder.requests(instances)
    length = encoder.max_length + 1
    rows = tokenise(tokenizer_of(model), library_of(tmp_path, Scoring()).examples(cell), length, "answer")
    scored = []
    for instance, request in zip(instances, requests, strict=True):
        right = right_options(task, instance.doc)[0] if task.OUTPUT_TYPE == "multiple_choice" else 0
        if instance.idx == right:
            scored.append((request.tokens, request.n_scored))
    assert [(row.tokens, row.targets) for row in rows] == scored
    assert len(scored) == docs["count"]


def test_a_text_that_is_rated_is_learned_as_it_stands(tmp_path: Path, outspoken_no_bos_model: Path) -> None:
    write_task(tmp_path, "quiz_en", make_docs(6, seed=23), **ROLLING)
    model, cell, library = model_of(outspoken_no_bos_model), Cell("quiz", "en"), library_of(tmp_path, Scoring())
    rows = tokenise(tokenizer_of(model), library.examples(cell), 512, "answer")
    parts = encoder_of(model).windows(library.build_requests(cell))
    assert [(row.tokens, row.targets) for row in rows] == [(one.tokens, one.n_scored) for (one,) in parts]


def test_an_answer_that_is_written_follows_the_prompt_and_the_delimiter(tmp_path: Path) -> None:
    write_task(tmp_path, "quiz_en", make_docs(6, seed=24), **{**WRITING, "gen_prefix": "It is", "description": "D. "})
    library, cell = library_of(tmp_path, Scoring()), Cell("quiz", "en")
    prompts = [request.args[0] for request in library.build_requests(cell)]
    examples = library.examples(cell)
    assert [example.prompt for example in examples] == prompts
    assert prompts[0].startswith("D. Question:")
    assert prompts[0].endswith("Answer: It is")
    assert examples[0].answer == " " + make_docs(6, seed=24)[0]["choices"][0]


@pytest.mark.parametrize(
    ("own", "asked", "effect"),
    [(None, None, 0), (2, None, 2), (2, 1, 1), (0, None, 0), (0, 3, 0), (None, 3, 3), (2, 0, 0)],
)
def test_a_tasks_own_examples_are_the_default(own: int | None, asked: int | None, effect: int, tmp_path: Path) -> None:
    write_task(tmp_path, "quiz_en", make_docs(6, seed=25), num_fewshot=own)
    library, cell = library_of(tmp_path, Scoring(num_fewshot=asked)), Cell("quiz", "en")
    prompts = {request.args[0] for request in library.build_requests(cell)}
    assert {prompt.count("Question:") for prompt in prompts} == {effect + 1}
    assert library.own_shots(cell) == (effect if asked is None else 0)


def library_of(folder: Path, scoring: Scoring) -> TaskLibrary:
    task = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))
    return TaskLibrary([task], scoring)
