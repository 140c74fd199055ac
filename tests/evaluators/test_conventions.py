"""Where lm-eval with PEFT and PEFT itself come to different numbers, PEFT's count; docs/models.md lists these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from adapters.folders.folder import PREFIX
from evaluators.evaluator import Evaluator, Settings
from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary
from study.store.layout import WEIGHTS_FILE
from study.store.store import Store
from tests.evaluators.conftest import make_docs, model_of, put_adapter, unit_of, write_task
from tests.support import peft_zoo, zoo
from tests.support.yardsticks import CELL, by_hand, by_lm_eval, largest

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.processes]  # PEFT loads DeepSpeed


def model_with(kind: str, rows: int, folder: Path) -> Path:
    """A tiny model whose embedding has `rows` more or fewer than its tokenizer has tokens."""
    model = zoo.make(kind, folder)
    zoo.build(kind, len(AutoTokenizer.from_pretrained(model)) + rows).save_pretrained(model)
    return model


def both(model: Path, adapter: Path | None, scratch: Path) -> tuple[Any, list[list[float]] | None, list[list[float]]]:
    """What our evaluator says, PEFT beside it, and lm-eval: its outcome, and log-likelihoods."""
    write_task(scratch / "tasks", "quiz_en", make_docs(4, seed=3))
    quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(scratch / "tasks"))
    store = Store(str(scratch / "store"))
    unit = unit_of(CELL, None if adapter is None else put_adapter(store, adapter, "a"))
    (result,) = Evaluator(model_of(model), store, Settings((quiz,), Scoring())).score([unit])
    rows = sorted(store.items().to_pylist(), key=lambda row: row["doc_id"])
    ours = [row["loglikelihoods"] for row in rows]
    return result, ours or None, by_hand(model_of(model), TaskLibrary((quiz,), Scoring()), adapter) if result.ok else []


def test_a_vocabulary_padded_beyond_the_tokenizer_counts_whole(tmp_path: Path) -> None:
    model = model_with("llama", 64, tmp_path / "model")
    adapter = peft_zoo.make(model, tmp_path / "adapter", peft_zoo.kinds("llama")["LORA"], seed=1)
    _, ours, theirs = both(model, adapter, tmp_path)
    assert ours is not None
    assert largest(ours, theirs) < 1e-3
    assert largest(by_lm_eval(model, tmp_path / "tasks", adapter), theirs) > 0.01, "lm-eval cuts the padding off"


def test_tied_embeddings_that_were_trained_apart_stay_apart(tmp_path: Path) -> None:
    model = zoo.make("gpt2", tmp_path / "model")
    adapter = peft_zoo.make(model, tmp_path / "adapter", peft_zoo.kinds("gpt2")["LORA saves the embedding"], seed=1)
    _, ours, theirs = both(model, adapter, tmp_path)
    assert ours is not None
    assert largest(ours, theirs) < 1e-3
    assert largest(by_lm_eval(model, tmp_path / "tasks", adapter), theirs) > 0.01, "lm-eval ties them again"


def test_names_that_peft_would_leave_out_are_refused(tmp_path: Path) -> None:
    model = zoo.make("llama", tmp_path / "model")
    adapter = peft_zoo.make(model, tmp_path / "adapter", peft_zoo.kinds("llama")["LORA"], seed=1)
    bare = {name.removeprefix(PREFIX): tensor for name, tensor in load_file(adapter / WEIGHTS_FILE).items()}
    save_file(bare, adapter / WEIGHTS_FILE)
    result, _, _ = both(model, adapter, tmp_path)
    assert result.kind == "bad_data"
    assert f"does not begin with {PREFIX}" in result.message


def test_a_tokenizer_larger_than_the_embedding_is_refused_in_words(tmp_path: Path) -> None:
    result, _, _ = both(model_with("llama", -40, tmp_path / "model"), None, tmp_path)
    assert result.kind == "bad_data"
    assert "the model's embedding has" in result.message


def test_tensors_of_eight_bits_are_what_peft_makes_of_them(tmp_path: Path) -> None:
    model = zoo.make("llama", tmp_path / "model")
    adapter = peft_zoo.make(model, tmp_path / "adapter", peft_zoo.kinds("llama")["LORA"], seed=1)
    file = adapter / "adapter_model.safetensors"
    save_file({name: one.to(torch.float8_e4m3fn) for name, one in load_file(file).items()}, file)
    result, ours, theirs = both(model, adapter, tmp_path)
    assert ours is not None, result
    assert largest(ours, theirs) < 1e-3


@pytest.mark.parametrize(("key", "value"), [("r", "4"), ("lora_alpha", None), ("lora_alpha", 1e40), ("r", 0)])
def test_a_wrong_number_costs_the_adapter_and_is_told_in_one_line(key: str, value: Any, tmp_path: Path) -> None:
    model = zoo.make("llama", tmp_path / "model")
    adapter = peft_zoo.make(model, tmp_path / "adapter", peft_zoo.kinds("llama")["LORA"], seed=1)
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    result, _, _ = both(model, adapter, tmp_path)
    assert result.kind == "bad_data"
    assert f"{key} is {value!r}" in result.message
    assert "\n" not in result.message
    assert str(tmp_path) not in result.message
