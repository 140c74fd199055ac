"""Tasks over texts: perplexity of a whole text, and answers that the model writes, beside lm-eval's."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from evaluators.evaluator import Evaluator, Settings
from evaluators.forward.padding import pads_exactly
from study.cells import Cell
from study.config import Scoring, TaskConfig, Validation
from study.config.texts import TextConfig
from study.data.held_out import split
from study.store.store import Store
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, unit_of, write_task
from tests.support import zoo

ROLLING: dict[str, Any] = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_choice": None,
    "doc_to_target": "{{question}}",
    "metric_list": [{"metric": metric} for metric in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
}
WRITING: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_choice": None,
    "doc_to_target": "{{choices[0]}}",
    "generation_kwargs": {"until": ["\n", "e"], "max_gen_toks": 12},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
FILTERED = {
    **WRITING,
    "filter_list": [
        {"name": "first", "filter": [{"function": "take_first"}]},
        {"name": "letters", "filter": [{"function": "regex", "regex_pattern": "([a-z])"}, {"function": "take_first"}]},
    ],
}


@pytest.fixture(scope="module")
def quiz(tmp_path_factory: pytest.TempPathFactory) -> TaskConfig:
    folder = tmp_path_factory.mktemp("tasks")
    docs = make_docs(7, seed=2, long=200)  # some longer than the model reads
    write_task(folder, "quiz_rolling", [*docs, {**docs[0], "question": ""}], **ROLLING)
    write_task(folder, "quiz_writing", docs, **WRITING)
    write_task(folder, "quiz_filtered", docs, **FILTERED)
    write_task(folder, "quiz_endless", docs, **{**WRITING, "generation_kwargs": {"max_gen_toks": 900}})
    write_task(folder, "quiz_choice", docs)
    return TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))


@pytest.fixture(scope="module")
def scored(
    quiz: TaskConfig, outspoken_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, Any], Path]:
    """A store with all targets scored by one adapter in one call, the results by language, and the adapter."""
    folder = tmp_path_factory.mktemp("texts")
    adapter = make_adapter(outspoken_model, folder / "adapter", seed=5)
    store = Store(str(folder / "store"))
    evaluator = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring()))
    languages = ("writing", "choice", "rolling", "endless", "filtered")
    unit = put_adapter(store, adapter, "a")
    results = evaluator.score([unit_of(Cell("quiz", language), unit) for language in languages])
    return store, dict(zip(languages, results, strict=True)), adapter


def rows(store: Store, language: str) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    items = [row for row in store.items().to_pylist() if row["target_language"] == language]
    scores = {row["metric"]: row for row in store.scores().to_pylist() if row["target_language"] == language}
    return sorted(items, key=lambda row: row["doc_id"]), scores


def test_perplexities_are_lm_evals(scored: Any, quiz: TaskConfig, outspoken_model: Path, harness: Any) -> None:
    store, results, adapter = scored
    assert results["rolling"].ok, results["rolling"].traceback
    items, scores = rows(store, "rolling")
    metrics, samples = harness(outspoken_model, quiz, "rolling", Scoring(), adapter)
    assert [row["loglikelihoods"][0] for row in items] == pytest.approx(
        [sample["resps"][0][0] for sample in samples], abs=2e-3
    )
    assert [row["option_chars"] for row in items] == [[len(sample["doc"]["question"])] for sample in samples]
    assert {row["correct"] for row in items} == {None}
    assert {row["graded_metric"] for row in items if row["graded"] is not None} == {"bits_per_byte"}
    sizes = [len(sample["doc"]["question"].encode()) for sample in samples]
    for row, sample, size in zip(items, samples, sizes, strict=True):
        expected = sample["resps"][0][0] / size / math.log(2) if size else None
        assert row["graded"] == (expected if expected is None else pytest.approx(expected, abs=2e-3))
    for name in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        assert scores[name]["value"] == pytest.approx(metrics[f"{name},none"], rel=1e-4)
    assert results["rolling"].tokens > sum(len(s["doc"]["question"].split()) for s in samples)


def test_raw_text_is_rated_as_lm_eval_rates_it(outspoken_model: Path, harness: Any, tmp_path: Path) -> None:
    """A cell of `texts`, with an adapter: bits per byte of what is held out, some longer than the model reads."""
    docs = make_docs(12, seed=2, long=200)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    prose = TextConfig(name="prose", data=str(tmp_path / "rows.jsonl"), field="question")
    cell, validation = Cell("prose", "xx"), Validation(fraction=0.5)
    store, adapter = Store(str(tmp_path / "store")), make_adapter(outspoken_model, tmp_path / "adapter", seed=5)
    settings = Settings((prose.as_task(),), Scoring(), validation=validation, texts=(cell,))
    unit = put_adapter(store, adapter, "a")
    (result,) = Evaluator(model_of(outspoken_model), store, settings).score([unit_of(cell, unit)])
    assert result.ok, result.traceback
    write_task(tmp_path / "tasks", "prose_xx", [docs[i] for i in split(12, validation)[1]], **ROLLING)
    same = TaskConfig(name="prose", lm_eval="prose_{language}", include_path=str(tmp_path / "tasks"))
    metrics, samples = harness(outspoken_model, same, "xx", Scoring(), adapter)
    items, scores = rows(store, "xx")
    assert [row["loglikelihoods"][0] for row in items] == pytest.approx(
        [one["resps"][0][0] for one in samples], abs=2e-3
    )
    assert scores.keys() == {"bits_per_byte"}
    assert scores["bits_per_byte"]["value"] == pytest.approx(metrics["bits_per_byte,none"], rel=1e-4)
    assert {row["graded_metric"] for row in items} == {"bits_per_byte"}


@pytest.mark.parametrize("language", ["writing", "filtered"])
def test_what_is_written_is_what_lm_eval_writes(
    language: str, scored: Any, quiz: TaskConfig, outspoken_model: Path, harness: Any
) -> None:
    store, results, adapter = scored
    assert results[language].ok, results[language].traceback
    items, scores = rows(store, language)
    metrics, samples = harness(outspoken_model, quiz, language, Scoring(), adapter)
    first = [sample for sample in samples if sample["filter"] in ("none", "first")]
    assert [row["generation"] for row in items] == [sample["resps"][0][0] for sample in first]
    assert len({row["generation"] for row in items}) > 1
    assert [row["correct"] for row in items] == [sample["exact_match"] for sample in first]
    assert {row["pred"] for row in items} == {-1}
    assert {row["graded"] for row in items} == {None}
    names = (
        {"exact_match": "none"} if language == "writing" else {"exact_match": "first", "exact_match,letters": "letters"}
    )
    for name, key in names.items():
        assert scores[name]["value"] == pytest.approx(metrics[f"exact_match,{key}"])
    assert {row["engine"].split()[0] for row in scores.values()} == {"generate"}
    if language == "writing":
        wrapped = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(outspoken_model), adapter).eval()
        tokenizer = AutoTokenizer.from_pretrained(outspoken_model)
        cut_off = [is_cut_off(wrapped, tokenizer, str(sample["arguments"][0][0])) for sample in first]
        assert [row["cut_off"] for row in items] == cut_off
        assert set(cut_off) == {True, False}
    assert {row["cut_off"] for row in rows(store, "rolling")[0]} == {None}


def is_cut_off(model: Any, tokenizer: Any, prompt: str) -> bool:
    """Whether 12 tokens of a prompt's greedy continuation have no end in them."""
    room = model.config.max_position_embeddings - 12
    ids = torch.tensor([tokenizer.encode(prompt)[-room:]])
    asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    answer = model.generate(**asked, max_new_tokens=12, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    text = tokenizer.decode(answer)
    return len(answer) == 12 and tokenizer.eos_token_id not in answer and not any(end in text for end in ("\n", "e"))


@pytest.mark.processes  # rwkv looks for a compiler
def test_a_model_that_does_not_honour_the_mask_writes_one_answer_at_a_time(tmp_path: Path, harness: Any) -> None:
    model = zoo.make("rwkv", tmp_path / "rwkv")
    write_task(tmp_path / "tasks", "quiz_writing", make_docs(6, seed=2), **WRITING)
    quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path / "tasks"))
    store = Store(str(tmp_path / "store"))
    (result,) = Evaluator(model_of(model), store, Settings((quiz,), Scoring())).score(
        [unit_of(Cell("quiz", "writing"))]
    )
    assert result.ok
    items, _ = rows(store, "writing")
    _, samples = harness(model, quiz, "writing", Scoring(), batch_size=1)
    assert [row["generation"] for row in items] == [sample["resps"][0][0] for sample in samples]
    assert pads_exactly(zoo.build("llama", 320))
    assert pads_exactly(zoo.build("llama", 320).bfloat16())


def test_an_answer_longer_than_the_model_is_bad_data_and_spares_the_others(scored: Any) -> None:
    _, results, _ = scored
    assert (results["endless"].ok, results["endless"].kind) == (False, "bad_data")
    assert "900" in str(results["endless"].message)
    assert results["choice"].ok


def test_out_of_memory_while_writing_reads_fewer_prompts_at_once(
    quiz: TaskConfig, outspoken_model: Path, scored: Any, tmp_path: Path
) -> None:
    store = Store(str(tmp_path))
    evaluator = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring()))
    evaluator._targets.ready(Cell("quiz", "writing"))

    def small_device(_: object, __: object, arguments: dict[str, torch.Tensor]) -> None:
        if len(arguments["input_ids"]) > 2:
            raise torch.OutOfMemoryError("this device holds two rows")

    evaluator._base.register_forward_pre_hook(small_device, with_kwargs=True)
    (result,) = evaluator.score([unit_of(Cell("quiz", "writing"))])
    assert result.ok
    assert len({row["doc_id"] for row in rows(store, "writing")[0]}) == 7  # twice: a base with a hook is loaded again
