"""Weights that are searched: LoraHub's objective, the same each time, on the examples that the study draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoTokenizer

from evaluators.evaluator import Evaluator, Settings
from evaluators.subjects.searched import minimised
from study.composition import Composition, Search, gathered
from study.composition import Term as Part
from study.config import Scoring, TaskConfig
from study.data.example import some_of
from study.data.tasks import TaskLibrary
from study.store import composed
from study.store.store import Store
from study.units import ComposedAdapter
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, write_task
from tests.evaluators.test_composed import CELL, unit
from tests.support.quantised import loaded

SEARCH = Search(str(CELL), "digest", 6, 12, 1.5, 0.05)


def test_it_finds_what_is_least_within_the_bounds_and_the_same_again() -> None:
    aim = np.array([0.8, -0.5])
    bowl = lambda weights: float(((np.array(weights) - aim) ** 2).sum())  # noqa: E731
    wide = Search("t/en", "", 16, 200, 1.5, 0.0)
    best = minimised(bowl, 2, wide, 7)
    assert np.abs(best - aim).max() < 0.1
    assert minimised(bowl, 2, wide, 7).tolist() == best.tolist()
    narrow = minimised(bowl, 2, Search("t/en", "", 16, 200, 0.3, 0.0), 7)
    assert np.abs(narrow).max() <= 0.3
    assert np.abs(narrow - [0.3, -0.3]).max() < 0.05
    assert minimised(bowl, 2, Search("t/en", "", 16, 40, 1.5, 100.0), 7).tolist() == [0, 0]  # l1 outweighs all


@pytest.mark.parametrize("quantization", [None, "nf4"])
def test_its_loss_is_that_of_pefts_sum_on_the_drawn_examples(
    tmp_path: Path, outspoken_model: Path, quantization: str | None
) -> None:
    of_base = replace(model_of(outspoken_model), quantization=quantization)
    folder = tmp_path / "tasks"
    write_task(folder, "quiz_en", make_docs(20, seed=0))
    quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))
    store = Store(str(tmp_path / "store"))
    parts = [put_adapter(store, make_adapter(outspoken_model, tmp_path / n, seed), n) for seed, n in enumerate("ab")]
    made = Composition("sum", gathered(Part(one.adapter_id) for one in parts), search=SEARCH)
    adapter = ComposedAdapter(made.identity, "tiny", "hub", made, tuple(parts), 1)
    (result,) = Evaluator(of_base, store, Settings((quiz,), Scoring())).score([unit(adapter)])
    assert result.ok, result.message
    record = composed.records(store)[adapter.adapter_id]
    weights = [term.weight for term in record.terms]
    assert any(weights)
    assert all(abs(weight) <= 1.5 for weight in weights)
    drawn = some_of(TaskLibrary([quiz], Scoring()).examples(CELL), 6)
    assert len(drawn) == 6

    def objective(weights: list[float]) -> float:
        model = PeftModel.from_pretrained(loaded(outspoken_model, quantization), str(tmp_path / "a"), adapter_name="a")
        model.load_adapter(str(tmp_path / "b"), adapter_name="b")
        model.add_weighted_adapter(["a", "b"], [weight or 1e-12 for weight in weights], "sum", combination_type="cat")
        model.set_adapter("sum")
        tokenizer = AutoTokenizer.from_pretrained(outspoken_model)
        total, count = 0.0, 0
        for example in drawn:
            before = tokenizer(example.prompt)["input_ids"]
            whole = tokenizer(example.prompt + example.answer, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                logs = model(whole).logits[0].log_softmax(-1)
            places = range(len(before), whole.shape[1])
            total -= sum(float(logs[place - 1, whole[0, place]]) for place in places)
            count += len(places)
        return total / count + 0.05 * float(np.abs(weights).mean())

    assert objective(weights) <= min(objective([0.0, 0.0]), objective([0.5, 0.5])) + 1e-4
    assert made.identity != Composition("sum", made.terms).identity
    again = Store(str(tmp_path / "again"))
    for name in "ab":
        put_adapter(again, tmp_path / name, name)
    Evaluator(of_base, again, Settings((quiz,), Scoring())).score([unit(adapter)])
    assert composed.records(again)[adapter.adapter_id].terms == record.terms
