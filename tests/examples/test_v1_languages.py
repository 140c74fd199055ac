"""The languages of the paper's first version: what a finished study gains by them, and that it loses nothing."""

from __future__ import annotations

from collections.abc import Iterator

import datasets
import pytest

from study.cells import Cell, Source
from study.config import StudyConfig
from study.config.file import load
from study.data.tasks import TaskLibrary
from tests.support.published import FOLDERS, LACKING, NEW_LANGUAGES, id_field, make_data, make_originals, rows
from tests.support.released import prompt_and_answer
from tests.support.tiny_world import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "donors_and_recipients"
TRAIN, TEST = 12, 8


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = make_data(tmp_path_factory.mktemp("data"), TRAIN, TEST, ["ar"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(make_originals(folder, TRAIN, TEST))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


def config_of(name: str) -> StudyConfig:
    return load(EXAMPLE / name, [f"tasks.{i}.include_path={EXAMPLE / 'tasks'}" for i in range(4)])


def test_nothing_of_the_study_is_computed_anew() -> None:
    before, after = config_of("study.yaml"), config_of("v1_languages.yaml")
    assert (before.recipe, before.models, before.seeds, before.store) == (
        after.recipe,
        after.models,
        after.seeds,
        after.store,
    )
    assert set(before.cells()) < set(after.cells())
    assert len(after.cells()) == 44 + 3 * 2 + 4
    old, new = TaskLibrary.of(before), TaskLibrary.of(after)
    for task in FOLDERS:
        cell = Cell(task, "ar")
        assert old.example_fingerprints(Source.of([cell])) == new.example_fingerprints(Source.of([cell]))
        first, second = (one.target_fingerprint(cell, one.build_requests(cell)) for one in (old, new))
        assert first == second


@pytest.mark.parametrize("task", FOLDERS)
def test_a_new_language_has_the_studys_rows(task: str) -> None:
    """These in their order, so that the same ones are held out, and no others where one is lacking: an item is none."""
    library, field = TaskLibrary.of(config_of("v1_languages.yaml")), id_field(task)
    lacks = {} if task == "truthfulqa" else LACKING
    for language in NEW_LANGUAGES[task]:
        cell = Cell(task, language)
        there = {
            split: [row for i, row in enumerate(rows(task, language, split, count)) if i != lacks.get(split)]
            for split, count in (("train", TRAIN), ("test", TEST))
        }
        texts = [text for row in there["train"] if (text := prompt_and_answer(task, row))]
        assert [(one.prompt, one.answer) for one in library.examples(cell)] == texts
        scored = {request.doc[field] for request in library.build_requests(cell)}
        assert scored == {row[field] for row in there["test"]}
        told = {part: library.lacking[cell, part] for part in ("train", "test")}
        assert told == dict.fromkeys(("train", "test"), len(lacks) // 2)
