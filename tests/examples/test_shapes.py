"""The examples of other shapes: data that their script makes, and every cell can be learned and asked offline."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from examples.shapes import build
from study.config import StudyConfig
from study.config.expansion import cells_used
from study.config.file import load
from study.data.tasks import TaskLibrary
from tests.support.tiny_world import REPOSITORY
from trainers.data import tokenise

FOLDER = REPOSITORY / "examples" / "shapes"
STUDIES = {  # of each the format and EOS of what is learned, and the kinds of its targets
    "raw_text": ({("text", True)}, {"loglikelihood_rolling", "multiple_choice"}),
    "completions": ({("prompt_completion", True)}, {"multiple_choice"}),
    "chat": ({("messages", False)}, {"multiple_choice"}),
    "summaries": ({(None, True)}, {"generate_until"}),
    "few_shot": ({(None, False)}, {"multiple_choice"}),
    "group": ({(None, False)}, {"multiple_choice"}),
}


def test_its_files_are_what_its_script_makes() -> None:
    made = build.files()
    there = [*(FOLDER / "data").iterdir(), *(FOLDER / "tasks").glob("[!_]*.yaml")]
    assert sorted(made) == sorted(file.relative_to(FOLDER).as_posix() for file in there)
    for name, text in made.items():
        assert (FOLDER / name).read_bytes() == text.encode(), name
    assert {path.stem for path in FOLDER.glob("[!_]*.yaml")} == STUDIES.keys()


@pytest.fixture(params=STUDIES)
def study(request: pytest.FixtureRequest) -> StudyConfig:
    return load(FOLDER / f"{request.param}.yaml")


def test_every_cell_of_it_can_be_learned_and_asked(study: StudyConfig) -> None:
    formats, kinds = STUDIES[study.study]
    library = TaskLibrary.of(study)
    library.check(cells_used(study))
    for source in study.source_list():
        assert {(one.format, one.append_eos) for one in library.source_examples(source)} == formats
    for cell in study.target_list():
        instances = library.build_requests(cell)
        assert library.target_fingerprint(cell, instances)
        if study.study == "few_shot":
            assert str(instances[0].args[0]).count("\n\n") == 2
    assert {library.load(cell).OUTPUT_TYPE for cell in study.target_list()} == kinds
    assert study.without_task() == {}  # what is learned only has its cells


def test_a_chat_is_learned_where_the_assistant_speaks(tmp_path: Path) -> None:
    build.write_chat_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    study = load(FOLDER / "chat.yaml")
    [row] = tokenise(tokenizer, TaskLibrary.of(study).source_examples(study.source_list()[0])[:1], 64, "answer")
    assert tokenizer.decode([row.tokens[place] for place in row.places]).endswith(tokenizer.eos_token)
    assert "<|assistant|>" in tokenizer.decode(row.tokens[: row.places[0]])
