"""How PEFT has started an adapter decides the same whichever way it is put on: alone or in a bank, in any precision."""

from __future__ import annotations

import inspect
import json
import re
import warnings
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM

from evaluators.evaluator import Evaluator, Settings
from evaluators.subjects import sharing
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.models.peft_config import REPEATABLE_STARTS, TASKS
from study.store.store import Store
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, unit_of, write_task


def starts_of_peft() -> list[bool | str | None]:
    """Those that LoraConfig's annotation lists, and those that LoraLayer knows beside."""
    words = {word for part in get_args(get_type_hints(LoraConfig)["init_lora_weights"]) for word in get_args(part)}
    words |= set(re.findall(r'init_lora_weights(?:\.lower\(\))? == "(\w+)"', inspect.getsource(LoraLayer)))
    return [True, False, None, *sorted(word.replace("[number of iters]", "4") for word in words)]


STARTS = starts_of_peft()


def test_peft_knows_the_starts_that_this_was_written_for() -> None:
    assert {task.value for task in TaskType} | {None} == {*TASKS}
    assert {"gaussian", "eva", "olora", "pissa", "pissa_niter_4", "loftq", "corda", "orthogonal", "lora_ga"} < {*STARTS}


def changes_the_base(start: Any, model: Path) -> bool:
    """Whether PEFT changes the base's weights as it starts an adapter so, or would once it has the data it asks for."""
    base = AutoModelForCausalLM.from_pretrained(model)
    before = {name: weight.clone() for name, weight in base.named_parameters()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=start))
    except (ValueError, ImportError, RuntimeError):  # it lacks gradients, covariances or a quantised base
        return True
    unwrapped = {name: weight for name, weight in wrapped.unload().named_parameters() if name in before}
    return not all(torch.equal(unwrapped[name], weight) for name, weight in before.items())


@pytest.fixture(scope="module")
def folders(outspoken_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Equal weights, each said to have been started in another way."""
    found = {}
    for start in STARTS:
        folder = make_adapter(outspoken_model, tmp_path_factory.mktemp("adapter"), seed=1)
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "init_lora_weights": start}))
        found[str(start)] = folder
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_start_is_scored_or_refused_in_the_same_way(
    dtype: str, folders: dict[str, Path], outspoken_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_task(tmp_path / "tasks", "quiz_en", make_docs(6, seed=2))
    quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path / "tasks"))
    refused: dict[int, dict[str, str]] = {}
    scored: dict[int, dict[str, list[list[float]]]] = {}
    for many in (1, len(folders)):
        monkeypatch.setattr(sharing, "adapters_per_batch", lambda *_, many=many: many)
        store = Store(str(tmp_path / str(many)))
        evaluator = Evaluator(model_of(outspoken_model, dtype), store, Settings((quiz,), Scoring()))
        units = [unit_of(Cell("quiz", "en"), put_adapter(store, folder, name)) for name, folder in folders.items()]
        results = dict(zip(folders, evaluator.score([*units, unit_of(Cell("quiz", "en"))]), strict=False))
        refused[many] = {
            name: str(result.message).rpartition("/")[2] for name, result in results.items() if not result.ok
        }
        rows = store.items().to_pylist()
        scored[many] = {
            name: [row["loglikelihoods"] for row in rows if row["adapter_id"] == name]
            for name in folders
            if name not in refused[many]
        }
        same = [answers for name, answers in scored[many].items() if name not in REPEATABLE_STARTS]
        assert all(answers == scored[many]["True"] for answers in same), "the weights are the same"
        assert all(scored[many][name] != scored[many]["True"] for name in REPEATABLE_STARTS), "the base is not"
        base = [row["loglikelihoods"] for row in rows if row["adapter_id"] is None]
        assert base != scored[many]["True"], "the adapter does something"
    changing = {str(start) for start in STARTS if changes_the_base(start, outspoken_model)} - {*REPEATABLE_STARTS}
    assert refused[1].keys() == changing | {"lora_ga"}, "which PEFT replaces by another where it has no gradients"
    assert {name: reason.partition(": ")[2] for name, reason in refused[1].items()} == {
        name: reason.partition(": ")[2] for name, reason in refused[len(folders)].items()
    }
    assert all("changes the base model's weights" in reason for reason in refused[1].values())
    tolerance = 1e-3 if dtype == "float32" else 1.0
    for alone, together in zip(scored[1]["True"], scored[len(folders)]["True"], strict=True):
        assert together == pytest.approx(alone, abs=tolerance)
