"""The published study's preset against its own way: transformers' Trainer on PEFT by the released recipe.

Texts, tokens and rows are compared with `tests.support.released`, on every task, on made rows of the same fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import datasets
import pytest

from study.cells import Cell
from study.config import ModelConfig, Recipe
from study.data.tasks import TaskLibrary
from study.models.chat import tokenizer_of
from study.models.resolve import resolve
from tests.support.families import make_family
from tests.support.parity import FAMILIES, TEST, TRAIN, assert_same_tokens, assert_same_verdicts, preset
from tests.support.published import FOLDERS, make_data, rows
from tests.support.reference_trainer import Both, assert_same_training
from tests.support.released import released
from trainers.job import Job
from trainers.worker import Worker

LANGUAGES = ["ar", "en", "hi", "zh"]
CASES = {  # by how much faster than the study its random models learn, and which epoch is the best
    "llama arc_challenge hi": (200, 2),
    "qwen global_mmlu zh": (100, 3),
    "gemma hellaswag en": (100, 3),
    "llama truthfulqa ar": (100, 3),
}


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("families")
    return {family: make_family(family, home / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskLibrary]:
    """The preset's tasks, its data made, in the working directory."""
    tasks = TaskLibrary.of(preset(LANGUAGES))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(make_data(tmp_path_factory.mktemp("data"), TRAIN, TEST, LANGUAGES))
        patch.setattr(
            datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache")
        )  # which knows them by name
        yield tasks


def quickened(times: int) -> Recipe:
    """The preset's recipe at so many times its learning rate."""
    recipe = preset(LANGUAGES).recipe
    return recipe.model_copy(update={"learning_rate": times * recipe.learning_rate})


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", FOLDERS)
def test_texts_and_tokens_are_the_released_ones(
    task: str, family: str, library: TaskLibrary, families: dict[str, Path]
) -> None:
    made = {language: rows(task, language, "train", TRAIN[task]) for language in LANGUAGES}
    assert assert_same_tokens(library, task, families[family], made) > 0


@pytest.fixture(scope="module")
def trained(
    library: TaskLibrary, families: dict[str, Path], worker: Worker, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Both]:
    """What both make of a case, trained once."""

    @cache
    def of(case: str) -> Both:
        family, task, language = case.split()
        faster, _ = CASES[case]
        model = resolve(ModelConfig(id=str(families[family])), "float32", "models[0]")
        one, tokenizer = Job(f"{family}-{task}", 17, library.examples(Cell(task, language))), tokenizer_of(model)
        made = [the for row in rows(task, language, "train", TRAIN[task]) if (the := released(task, row, tokenizer))]
        return assert_same_training(worker, model, one, made, quickened(faster), tmp_path_factory.mktemp(family))

    return of


@pytest.mark.parametrize("case", CASES)
def test_training_is_the_trainers(case: str, trained: Callable[[str], Both]) -> None:
    _, best = CASES[case]
    assert trained(case).theirs.best_epoch == best


@pytest.mark.parametrize("case", list(CASES)[:3])
def test_scores_are_lm_evals_of_the_merged_model(
    case: str, library: TaskLibrary, families: dict[str, Path], trained: Callable[[str], Both], tmp_path: Path
) -> None:
    """Its adapter merged, saved and scored by lm-eval's own way; ours trained by ours, beside the base: every item."""
    assert_same_verdicts(trained(case), families[case.split()[0]], preset(LANGUAGES), "en", tmp_path)
