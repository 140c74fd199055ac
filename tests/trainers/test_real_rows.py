"""The published study's preset against its own way, on real rows and a trained model.

The rows are the quickstart's, or those of a folder that BENCHMARK_ROWS names (`tests.support.real_rows.given`); the
tokenizers are tiny ones of the three families' rules, or `llama`, `qwen` and `gemma` of a folder that TOKENIZERS names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import datasets
import pytest

from study.cells import Cell
from study.config import ModelConfig
from study.data.tasks import TaskLibrary
from study.models.chat import tokenizer_of
from study.models.resolve import resolve
from tests.support.families import make_family
from tests.support.parity import FAMILIES, TEST, TRAIN, assert_same_tokens, assert_same_verdicts, preset
from tests.support.published import FOLDERS, Rows, make_data
from tests.support.real_rows import given, languages_of, quickstart
from tests.support.reference_trainer import by_both
from tests.support.released import released
from tests.support.tiny_world import REPOSITORY
from tests.support.training import weights
from trainers.job import Job
from trainers.worker import Worker

GIVEN = Path(os.environ["BENCHMARK_ROWS"]).absolute() if "BENCHMARK_ROWS" in os.environ else None
REAL: Rows = partial(given, GIVEN) if GIVEN else quickstart
LANGUAGES = languages_of(GIVEN) if GIVEN else ["ar", "de", "en", "zh"]
LEARNED = "de" if "de" in LANGUAGES else LANGUAGES[0]
COUNT = dict.fromkeys(FOLDERS, 10**6) if GIVEN else TRAIN
POLYGLOT = REPOSITORY / "examples" / "quickstart" / "polyglot-nano"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskLibrary]:
    tasks, home = TaskLibrary.of(preset(LANGUAGES)), tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(make_data(home, COUNT, TEST, LANGUAGES, REAL))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "cache")
        yield tasks


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if "TOKENIZERS" in os.environ:
        return Path(os.environ["TOKENIZERS"]).absolute()
    home = tmp_path_factory.mktemp("tokenizers")
    for family in FAMILIES:
        make_family(family, home / family)
    return home


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", FOLDERS)
def test_texts_and_tokens_are_the_released_ones(task: str, family: str, library: TaskLibrary, tokenizers: Path) -> None:
    """In every language that all tasks have."""
    made = {language: REAL(task, language, "train", COUNT[task]) for language in LANGUAGES}
    assert_same_tokens(library, task, tokenizers / family, made)


@pytest.mark.parametrize("task", FOLDERS if GIVEN else ["truthfulqa"])
def test_training_is_the_trainers(task: str, library: TaskLibrary, worker: Worker, tmp_path: Path) -> None:
    """At the study's own learning rate, and scored. Adam makes steps of noise where gradients are next to nothing, so
    that the Trainer itself, at another padding, comes to other weights by up to a thousandth (docs/parity.md)."""
    config = preset(LANGUAGES, "scoring.apply_chat_template=false")  # which the model has not
    model = resolve(ModelConfig(id=str(POLYGLOT)), "float32", "models[0]")
    tokenizer, examples = tokenizer_of(model), library.examples(Cell(task, LEARNED))[: TRAIN[task]]
    some = REAL(task, LEARNED, "train", COUNT[task])
    made = [the for row in some if (the := released(task, row, tokenizer))][: TRAIN[task]]
    both = by_both(worker, model, Job("real", 17, examples), made, config.recipe, tmp_path)
    for name, theirs in both.theirs.weights.items():
        apart = float((weights(both.ours)[name] - theirs).abs().max())
        assert apart < 1e-6
        assert apart < (2e-3 if GIVEN else 1e-4) * float(theirs.abs().max())
    assert_same_verdicts(both, POLYGLOT, config, LEARNED, tmp_path)
