"""The published study's preset against its own way: transformers' Trainer on PEFT by the released recipe.

Texts, tokens and rows are compared with `tests.support.released`, on every task, on made rows of the same fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import pytest
from lm_eval import evaluator as lm_eval_evaluator
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer

from evaluators.evaluator import Evaluator, Settings
from study.cells import Cell
from study.config import ModelConfig, Recipe, StudyConfig
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.models.chat import tokenizer_of
from study.models.resolve import resolve
from study.store.store import Store
from tests.evaluators.conftest import put_adapter, unit_of
from tests.support.families import make_family
from tests.support.published import FOLDERS, make_data, rows
from tests.support.real_rows import quickstart
from tests.support.reference_trainer import ByTrainer, assert_same_training, by_trainer
from tests.support.released import MASKED, released
from tests.support.tiny_models import save_model
from tests.support.tiny_world import REPOSITORY
from tests.support.training import train
from trainers.data import tokenise
from trainers.job import Job
from trainers.worker import Worker

PRESET = REPOSITORY / "examples" / "donors_and_recipients" / "study.yaml"
LANGUAGES = ["ar", "en", "hi", "zh"]
TRAIN = dict.fromkeys(FOLDERS, 45) | {"truthfulqa": 85}  # of which 9 are held out: two batches
TEST = 8
FAMILIES = ["llama", "qwen", "gemma"]
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
    tasks = TaskLibrary.of(preset())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(make_data(tmp_path_factory.mktemp("data"), TRAIN, TEST, LANGUAGES))
        patch.setattr(
            datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache")
        )  # which knows them by name
        yield tasks


def preset(languages: Sequence[str] = LANGUAGES) -> StudyConfig:
    here = [f"tasks.{i}.include_path={PRESET.parent / 'tasks'}" for i in range(4)]
    return load(PRESET, [*here, f"languages={list(languages)}"])


def quickened(times: int) -> Recipe:
    """The preset's recipe at so many times its learning rate."""
    recipe = preset().recipe
    return recipe.model_copy(update={"learning_rate": times * recipe.learning_rate})


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", FOLDERS)
def test_texts_and_tokens_are_the_released_ones(
    task: str, family: str, library: TaskLibrary, families: dict[str, Path]
) -> None:
    tokenizer, recipe = AutoTokenizer.from_pretrained(families[family]), preset().recipe
    theirs = AutoTokenizer.from_pretrained(families[family])
    cut = 0
    for language in LANGUAGES:
        examples = library.examples(Cell(task, language))
        expected = [one for row in rows(task, language, "train", TRAIN[task]) if (one := released(task, row, theirs))]
        assert [one.prompt + one.answer for one in examples] == [one.text for one in expected]
        mine = tokenise(tokenizer, examples, recipe.max_length, recipe.loss_on)
        for row, one in zip(mine, expected, strict=True):
            seen = [token for token, mask in zip(one.input_ids, one.attention_mask, strict=True) if mask]
            learned = [label for label in one.labels[1:] if label != MASKED]  # nothing predicts what is first
            if (family, task) == ("gemma", "truthfulqa") and one.attention_mask[0] == 0:
                assert learned.pop(0) == tokenizer.bos_token_id  # predicted from padding on the left: not learned here
            assert list(row.tokens) == seen
            assert list(row.tokens[row.first :]) == learned
        cut += sum(row.truncated for row in mine)
    assert cut > 0


@pytest.mark.parametrize("case", CASES)
def test_training_is_the_trainers(
    case: str, library: TaskLibrary, families: dict[str, Path], worker: Worker, tmp_path: Path
) -> None:
    family, task, language = case.split()
    faster, best = CASES[case]
    model = resolve(ModelConfig(id=str(families[family])), "float32", "models[0]")
    one = Job(f"{family}-{task}", 17, library.examples(Cell(task, language)))
    tokenizer = tokenizer_of(model)
    made = [their for row in rows(task, language, "train", TRAIN[task]) if (their := released(task, row, tokenizer))]
    assert assert_same_training(worker, model, one, made, quickened(faster), tmp_path) == best


POLYGLOT = REPOSITORY / "examples" / "quickstart" / "polyglot-nano"


def test_training_a_trained_model_on_real_rows_is_the_trainers(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the study's own learning rate; texts and tokens are the released ones."""
    task, language = "truthfulqa", "zh"
    monkeypatch.chdir(make_data(tmp_path / "data", TRAIN, TEST, [language], quickstart))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    model = resolve(ModelConfig(id=str(POLYGLOT)), "float32", "models[0]")
    tokenizer, examples = tokenizer_of(model), TaskLibrary.of(preset([language])).examples(Cell(task, language))
    made = [released(task, row, tokenizer) for row in quickstart(task, language, "train", TRAIN[task])]
    assert [one.prompt + one.answer for one in examples] == [one.text for one in made]
    assert_same_training(worker, model, Job("real", 17, examples), made, preset().recipe, tmp_path)


def test_scores_are_lm_evals_of_the_merged_model(
    library: TaskLibrary, families: dict[str, Path], worker: Worker, tmp_path: Path
) -> None:
    """Its adapter merged, saved and scored by lm-eval's own way; ours trained by ours, beside the base: every item."""
    config, cell = preset(), Cell("hellaswag", "en")
    recipe = quickened(100)
    model = resolve(ModelConfig(id=str(families["gemma"])), "float32", "models[0]")
    tokenizer, one = tokenizer_of(model), Job("scored", 17, library.examples(cell))
    made = [
        their
        for row in rows(cell.task, "en", "train", TRAIN[cell.task])
        if (their := released(cell.task, row, tokenizer))
    ]
    theirs = by_trainer(families["gemma"], made, one, recipe, tmp_path / "theirs")
    samples = merged_and_scored(theirs, families["gemma"], config, tmp_path / "merged")
    store = Store(str(tmp_path / "store"))
    adapter = put_adapter(store, train(worker, model, tmp_path / "mine", one, recipe).folder, "scored")
    evaluator = Evaluator(model, store, Settings.of(config))
    for task in FOLDERS:
        unit = unit_of(Cell(task, "en"), adapter)
        (scored,) = evaluator.score([unit])
        assert scored.ok, scored.traceback
        items = [row for row in store.items().to_pylist() if row["score_id"] == unit.score_id]
        mine = {row["doc_id"]: (row["correct"], row["correct_norm"]) for row in items}
        assert mine == samples[task]
        assert len(mine) == TEST
    base = Counter(mine for task in FOLDERS for mine in samples[task].values())
    assert len(base) > 1, "all right or all wrong proves nothing"


def merged_and_scored(
    theirs: ByTrainer, base: Path, config: StudyConfig, folder: Path
) -> dict[str, dict[int, tuple[bool, bool | None]]]:
    """Whether each item is right by acc and by acc_norm, where a task has that."""
    lm_eval_evaluator.add_env_info = lambda results: None  # `pip list` each time
    save_model(theirs.model.merge_and_unload(), folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    found = {}
    for task in config.tasks:
        name = str(task.lm_eval_name("en"))
        output = simple_evaluate(
            model=HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=4),
            tasks=[name],
            task_manager=TaskManager(include_path=task.include_path, include_defaults=False),
            num_fewshot=0,
            apply_chat_template=True,
            bootstrap_iters=0,
        )
        found[task.name] = {
            sample["doc_id"]: (bool(sample["acc"]), bool(sample["acc_norm"]) if "acc_norm" in sample else None)
            for sample in output["samples"][name]
        }
    return found
