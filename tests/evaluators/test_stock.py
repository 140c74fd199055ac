"""Task files as lm-eval ships them, over offline rows in their fields: all our numbers beside lm-eval's own."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import lm_eval.tasks
import pytest
import yaml

from evaluators.evaluator import Evaluator, Settings
from evaluators.items.judge import BOOTSTRAP_ITERATIONS
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.store.store import Store
from tests.evaluators.conftest import model_of, unit_of
from tests.evaluators.test_parity import TOLERANCE
from tests.support.stock import SAID, STOCK, Draw
from tests.support.tiny_models import make_model

FEW, MANY = 6, 40  # documents of each split
ASKED = ["arc_challenge", "winogrande", "cola", "truthfulqa_mc2", "boolq", "lambada_openai", "asdiv", "gsm8k", "drop"]
CHATS = {
    "few-shot": Scoring(num_fewshot=2),
    "in a chat": Scoring(num_fewshot=1, apply_chat_template=True, system_prompt="Answer: Lima"),
}
WRITTEN = [name for name, stock in STOCK.items() if stock.writes]
SHIPPED = Path(lm_eval.tasks.__file__).parent
TOKENS = 6  # of an answer: as long as noise need be


def write(folder: Path, name: str, documents: int) -> None:
    """A user's file that includes the shipped one, with data of its own."""
    stock, draw = STOCK[name], Draw(name)
    data = {split: str(folder / f"{name}.{split}.jsonl") for split in stock.splits}
    for file in data.values():
        rows = [stock.row(draw) for _ in range(documents)]
        Path(file).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    own = {
        "include": str(SHIPPED / stock.file),
        "task": f"stock_{name}",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": data},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("outspoken"), spread=0.2)


@dataclass(frozen=True)
class Both:
    """The same tasks by lm-eval's own `simple_evaluate`, and in our store."""

    theirs: dict[str, Any]
    ours: Store


def both(names: Sequence[str], documents: int, model: Path, folder: Path, scoring: Scoring | None = None) -> Both:
    """Every metric that lm-eval has of a task is named in the config, so that what items have of each is kept."""
    scoring = scoring or Scoring()
    for name in names:
        write(folder, name, documents)
    from lm_eval import evaluator, simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    evaluator.add_env_info = lambda results: None  # `pip list` each time
    theirs = simple_evaluate(
        model=HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=8),
        tasks=[f"stock_{name}" for name in names],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        gen_kwargs={"max_gen_toks": TOKENS},
        num_fewshot=scoring.num_fewshot,
        apply_chat_template=scoring.apply_chat_template,
        system_instruction=scoring.system_prompt,
        bootstrap_iters=BOOTSTRAP_ITERATIONS,
        log_samples=True,
    )
    store, tasks = Store(str(folder / "store")), []
    for name in names:
        own: dict[str, Any] = {"scoring": {"max_gen_toks": TOKENS}} if STOCK[name].writes else {}
        metric = tuple(named(theirs["results"][f"stock_{name}"]))
        task = TaskConfig(name=name, lm_eval={"en": f"stock_{name}"}, include_path=str(folder), metric=metric, **own)
        tasks.append(task)
    units = [unit_of(Cell(name, "en")) for name in names]
    results = Evaluator(model_of(model), store, Settings(tuple(tasks), scoring)).score(units)
    assert [result.message for result in results] == [None] * len(names)
    return Both(theirs, store)


def named(metrics: dict[str, Any]) -> dict[str, str]:
    """lm-eval's keys of a task's metrics, by our names: what its first filter gives goes by its plain one."""
    keys = [key for key in metrics if "," in key and "_stderr" not in key]
    return {key.removesuffix(f",{keys[0].partition(',')[2]}"): key for key in keys}


@pytest.fixture(scope="module")
def all_of_them(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    return both(list(STOCK), FEW, model, tmp_path_factory.mktemp("stock"))


@pytest.fixture(scope="module")
def nearly_right(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Those that are written, by a model that says what is right of some rows: noise is right of none."""
    from lm_eval.models.huggingface import HFLM

    def say(self: HFLM, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        drawn = [Random(str(request.args[0])) for request in requests]
        return [draw.choice(("", " ")) + draw.choice(SAID) for draw in drawn]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HFLM, "generate_until", say)
        yield both(WRITTEN, MANY, model, tmp_path_factory.mktemp("said"))


@pytest.fixture(scope="module", params=CHATS)
def in_other_words(request: Any, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Some of every kind, with examples before them, in a chat."""
    return both(ASKED, 3, model, tmp_path_factory.mktemp("asked"), CHATS[request.param])


@pytest.mark.parametrize("name", ASKED)
def test_so_it_has_with_examples_and_in_a_chat(name: str, in_other_words: Both) -> None:
    check(in_other_words, name)


@pytest.mark.parametrize("name", STOCK)
def test_a_shipped_task_has_lm_evals_numbers(name: str, all_of_them: Both) -> None:
    check(all_of_them, name)


@pytest.mark.parametrize("name", WRITTEN)
def test_so_it_has_where_answers_are_right(name: str, nearly_right: Both) -> None:
    values = check(nearly_right, name)
    assert any(value != values[0] or value not in (0, 1) for value in values), values


def check(found: Both, name: str) -> list[float]:
    """Compare all numbers of a task, and of its items; return the metrics'."""
    metrics, samples = found.theirs["results"][f"stock_{name}"], found.theirs["samples"][f"stock_{name}"]
    scores = {row["metric"]: row for row in found.ours.scores().to_pylist() if row["target_task"] == name}
    names = named(metrics)
    assert scores.keys() == names.keys()
    for own, key in names.items():
        assert scores[own]["value"] == pytest.approx(metrics[key], rel=5 * TOLERANCE, abs=1e-6), own
        stderr = metrics[key.replace(",", "_stderr,")]
        expected = None if stderr == "N/A" else pytest.approx(stderr, rel=5 * TOLERANCE, abs=TOLERANCE)
        assert scores[own]["stderr"] == expected, own
    rows = [row for row in found.ours.items().to_pylist() if row["target_task"] == name]
    items = sorted(rows, key=lambda row: row["doc_id"])
    for own, key in names.items():
        mine = {sample["doc_id"]: sample for sample in samples if sample["filter"] == key.partition(",")[2]}
        assert [row["doc_id"] for row in items] == sorted(mine)
        for row in items:
            _compare(row, mine[row["doc_id"]], own, key.partition(",")[0])
    return [float(metrics[key]) for key in names.values()]


def _compare(row: dict[str, Any], sample: dict[str, Any], own: str, metric: str) -> None:
    """What was answered to an item, and what that is worth by a metric."""
    assert row["doc_hash"] == sample["doc_hash"]
    said = [response[0] for response in sample["resps"]]
    if isinstance(said[0], str):
        assert row["generation"] == said[0]
    else:
        lls = [one[0] if isinstance(one, tuple | list) else one for one in said]
        assert row["loglikelihoods"] == pytest.approx(lls[: len(row["loglikelihoods"])], abs=TOLERANCE, rel=1e-4)
    kept = {one["name"]: one["value"] for one in row["metrics"] or ()}
    worth = sample[metric]
    if metric == "perplexity":  # of which an item's is a log-likelihood: ours is in bits
        worth /= math.log(2)
    if isinstance(worth, float | int):
        assert kept[own] == pytest.approx(float(worth), rel=5 * TOLERANCE, abs=1e-5)
