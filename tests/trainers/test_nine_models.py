"""The published study's nine models, by tiny random stand-ins that follow their tokenizers' rules for special tokens.

Each learns one source of the preset and is scored on another target, by the trainer and the evaluator of a study.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from transformers import AutoTokenizer

from evaluators.evaluator import Evaluator, Settings
from evaluators.items.encoder import encoder_of
from study.cells import Cell
from study.config import StudyConfig
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.models.chat import tokenizer_of
from study.models.resolve import Model, resolve_all
from study.store.store import Store
from tests.evaluators.conftest import put_adapter, unit_of
from tests.support.families import NINE, make_nine
from tests.support.published import FOLDERS, make_data, rows
from tests.support.released import MASKED, released
from tests.support.tiny_world import REPOSITORY
from tests.support.training import told, train
from trainers.data import tokenise
from trainers.job import Job
from trainers.worker import Worker

PRESET = REPOSITORY / "examples" / "donors_and_recipients" / "study.yaml"
TRAIN, TEST = 12, 5
CELLS = [Cell(task, language) for task, language in zip(FOLDERS, ["ar", "zh", "en", "hi"], strict=True)]
ON_CPU = ["training={resources_per_worker: {CPU: 1}}", "evaluators={resources: {CPU: 1}}"]
NAMES = [name.partition("/")[2] for name in NINE]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which models and data lie by the names that the preset gives."""
    languages = [cell.language for cell in CELLS]
    folder = make_nine(make_data(tmp_path_factory.mktemp("nine"), TRAIN, TEST, languages))
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        yield folder


@pytest.fixture(scope="module")
def config() -> StudyConfig:
    return load(PRESET, ON_CPU)


@pytest.fixture(scope="module")
def library(here: Path, config: StudyConfig) -> TaskLibrary:
    return TaskLibrary.of(config)


@pytest.fixture(scope="module")
def nine(here: Path, config: StudyConfig) -> dict[str, Model]:
    return {model.name: model for model in resolve_all(config)}


def test_they_are_the_presets(nine: dict[str, Model]) -> None:
    assert list(nine) == NAMES
    assert {model.family for model in nine.values()} == {"Llama-3", "Qwen2.5", "gemma-3"}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_learned_has_the_special_tokens_that_the_release_gives_it(
    name: str, nine: dict[str, Model], library: TaskLibrary, config: StudyConfig
) -> None:
    """None before letters; before TruthfulQA's texts BOS by Llama and Gemma; nowhere an end."""
    tokenizer, theirs = tokenizer_of(nine[name]), AutoTokenizer.from_pretrained(nine[name].path)
    for cell in CELLS:
        examples = library.examples(cell)
        mine = tokenise(tokenizer, examples, config.recipe.max_length, config.recipe.loss_on)
        made = rows(cell.task, cell.language, "train", TRAIN)
        expected = [one for row in made if (one := released(cell.task, row, theirs))]
        for row, one in zip(mine, expected, strict=True):
            seen = [token for token, mask in zip(one.input_ids, one.attention_mask, strict=True) if mask]
            assert list(row.tokens) == seen
            learned = [label for label in one.labels[1:] if label != MASKED]
            if cell.task == "truthfulqa" and name.startswith("gemma") and one.attention_mask[0] == 0:
                assert learned.pop(0) == tokenizer.bos_token_id  # predicted from padding on the left: not learned here
            assert list(row.tokens[row.first :]) == learned
            begun = cell.task == "truthfulqa" and not name.startswith("Qwen")
            assert (row.tokens[0] == tokenizer.bos_token_id) is begun
            assert tokenizer.eos_token_id not in row.tokens


@pytest.mark.parametrize("name", NAMES)
def test_what_is_scored_has_one_beginning(name: str, nine: dict[str, Model], library: TaskLibrary) -> None:
    """The chat template of Llama and of Gemma writes BOS, so that the tokenizer does not; Qwen's has none."""
    encoder = encoder_of(nine[name])
    tokenizer = encoder.tokenizer
    for cell in CELLS:
        instances = library.build_requests(cell, encoder.apply_chat_template)
        for instance, request in zip(instances, encoder.requests(instances), strict=True):
            whole = tokenizer.encode("".join(instance.args), add_special_tokens=False)
            assert [*request.tokens] == whole[-len(request.tokens) :]
            count = 0 if tokenizer.bos_token_id is None else 1
            assert sum(token == tokenizer.bos_token_id for token in request.tokens) == count


@pytest.mark.parametrize("name", NAMES)
def test_each_is_trained_and_scored(
    name: str, nine: dict[str, Model], library: TaskLibrary, config: StudyConfig, worker: Worker, tmp_path: Path
) -> None:
    model, place = nine[name], NAMES.index(name)
    learned, scored = CELLS[place % 4], CELLS[(place + 1) % 4]
    one = Job(name, 17, library.examples(learned))
    trained = train(worker, model, tmp_path / "out", one, config.recipe)
    course = told(trained)
    assert [epoch["validation_loss"] > 0 for epoch in course["epochs"]] == [True] * 3
    store = Store(str(tmp_path / "store"))
    adapter = put_adapter(store, trained.folder, name)
    units = [unit_of(scored, adapter), unit_of(scored)]
    for result in Evaluator(model, store, Settings.of(config)).score(units):
        assert result.ok, result.traceback
    items = store.items().to_pylist()
    by_subject = [[row for row in items if row["score_id"] == unit.score_id] for unit in units]
    assert [len(some) for some in by_subject] == [TEST, TEST]
    changed = [mine["loglikelihoods"] != base["loglikelihoods"] for mine, base in zip(*by_subject, strict=True)]
    assert any(changed), "its adapter changes nothing"
