"""What the published study's preset is held to: its texts and tokens, and its verdicts after merging and lm-eval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from lm_eval import evaluator as lm_eval_evaluator
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer

from evaluators.evaluator import Evaluator, Settings
from study.cells import Cell
from study.config import ModelConfig, StudyConfig
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.models.resolve import resolve
from study.store.store import Store
from tests.evaluators.conftest import put_adapter, unit_of
from tests.support.published import FOLDERS, Row
from tests.support.reference_trainer import Both, ByTrainer
from tests.support.released import MASKED, released
from tests.support.tiny_models import save_model
from tests.support.tiny_world import REPOSITORY
from trainers.data import tokenise

PRESET = REPOSITORY / "examples" / "donors_and_recipients" / "study.yaml"
FAMILIES = ["llama", "qwen", "gemma"]
TRAIN = dict.fromkeys(FOLDERS, 45) | {"truthfulqa": 85}  # of which 9 are held out: two batches
TEST = 8


def preset(languages: Sequence[str], *overrides: str) -> StudyConfig:
    here = [f"tasks.{i}.include_path={PRESET.parent / 'tasks'}" for i in range(4)]
    return load(PRESET, [*here, f"languages={list(languages)}", *overrides])


def assert_same_tokens(library: TaskLibrary, task: str, folder: Path, made: Mapping[str, list[Row]]) -> int:
    """Text, tokens, and which of them are learned, of every example. Returns how many are cut."""
    tokenizer, theirs = (AutoTokenizer.from_pretrained(folder) for _ in range(2))
    recipe, cut = preset(list(made)).recipe, 0
    for language, some in made.items():
        examples = library.examples(Cell(task, language))
        expected = [one for row in some if (one := released(task, row, theirs))]
        assert [one.prompt + one.answer for one in examples] == [one.text for one in expected]
        mine = tokenise(tokenizer, examples, recipe.max_length, recipe.loss_on)
        for row, one in zip(mine, expected, strict=True):
            seen = [token for token, mask in zip(one.input_ids, one.attention_mask, strict=True) if mask]
            learned = [label for label in one.labels[1:] if label != MASKED]  # nothing predicts what is first
            if task == "truthfulqa" and theirs.padding_side == "left" and one.attention_mask[0] == 0:
                assert learned.pop(0) == tokenizer.bos_token_id  # predicted from padding on the left: not learned here
            assert list(row.tokens) == seen
            assert list(row.tokens[row.first :]) == learned
        cut += sum(row.truncated for row in mine)
    return cut


def assert_same_verdicts(both: Both, base: Path, config: StudyConfig, language: str, out: Path) -> None:
    """Of every item of all four tasks in a language; some are right and some are wrong."""
    samples = merged_and_scored(both.theirs, base, config, language, out / "merged")
    store = Store(str(out / "store"))
    adapter = put_adapter(store, both.ours.folder, "scored")
    evaluator = Evaluator(resolve(ModelConfig(id=str(base)), "float32", "models[0]"), store, Settings.of(config))
    units = {task: unit_of(Cell(task, language), adapter) for task in FOLDERS}
    for scored in evaluator.score(list(units.values())):
        assert scored.ok, scored.traceback
    items = store.items().to_pylist()
    for task, unit in units.items():
        some = [row for row in items if row["score_id"] == unit.score_id]
        mine = {row["doc_id"]: (row["correct"], row["correct_norm"]) for row in some}
        assert mine == samples[task]
        assert len(mine) == TEST
    every = Counter(mine for task in FOLDERS for mine in samples[task].values())
    assert len(every) > 1, "all right or all wrong proves nothing"


def merged_and_scored(
    theirs: ByTrainer, base: Path, config: StudyConfig, language: str, folder: Path
) -> dict[str, dict[int, tuple[bool, bool | None]]]:
    """Whether each item is right by acc and by acc_norm, where a task has that."""
    lm_eval_evaluator.add_env_info = lambda results: None  # `pip list` each time
    save_model(theirs.model.merge_and_unload(), folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    names = {task.name: str(task.lm_eval_name(language)) for task in config.tasks}
    output = simple_evaluate(
        model=HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=4),
        tasks=list(names.values()),
        task_manager=TaskManager(include_path=config.tasks[0].include_path, include_defaults=False),
        num_fewshot=0,
        apply_chat_template=config.scoring.apply_chat_template,
        bootstrap_iters=0,
    )
    return {
        task: {
            sample["doc_id"]: (bool(sample["acc"]), bool(sample["acc_norm"]) if "acc_norm" in sample else None)
            for sample in output["samples"][name]
        }
        for task, name in names.items()
    }
