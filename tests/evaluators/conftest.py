"""Small lm-eval tasks, PEFT adapters with weights that matter, and lm-eval's own verdict to compare with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluators.items.judge import BOOTSTRAP_ITERATIONS
from study.cells import Cell, Source
from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary
from study.models.resolve import Model
from study.store.store import Store
from study.units import AdapterUnit, ScoreUnit
from tests.support.rows import record_of
from tests.support.tiny_models import make_model

WORDS = [
    "Paris",
    "Lima",
    "apple",
    "pear",
    "plum",
    "five",
    "six",
    "seven",
    "Hauptstadt",
    "von",
    "Frankreich",
    "the",
    "of",
    "Answer:",
    "été",
    "münchen",
    "数",
    "字",
]


def make_docs(count: int, seed: int, options: int = 4, long: int = 0) -> list[dict[str, Any]]:
    """Random questions; every fifth is `long` words longer, so that it does not fit the model."""
    rng = random.Random(seed)
    docs = []
    for index in range(count):
        question = " ".join(rng.choices(WORDS, k=rng.randint(3, 12) + (long if index % 5 == 0 else 0)))
        choices = [" ".join(rng.choices(WORDS, k=rng.randint(1, 4))) for _ in range(options)]
        if index % 3 == 0:
            choices[1] = choices[0] + " plum"  # an option that begins another
        docs.append({"question": question, "choices": choices, "answer": rng.randrange(options)})
    return docs


def write_task(folder: Path, name: str, docs: list[dict[str, Any]], **changes: Any) -> None:
    """An lm-eval YAML file over a JSON file of documents; `changes` replace its keys (None removes one)."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(doc) + "\n" for doc in docs), encoding="utf-8")
    definition = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data), "train": str(data)}},
        "output_type": "multiple_choice",
        "training_split": "train",
        "test_split": "test",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
        ],
        **changes,
    }
    text = yaml.safe_dump({key: value for key, value in definition.items() if value is not None}, allow_unicode=True)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def make_adapter(model: Path, folder: Path, seed: int, **lora: Any) -> Path:
    """Save a PEFT LoRA whose B is not zero, so that it changes what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **lora}
        wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(model), LoraConfig(**settings))
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(0, 0.2)
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def outspoken_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with wide weights; its tokenizer starts texts with <s>."""
    return make_model(tmp_path_factory.mktemp("outspoken"), spread=0.2)


@pytest.fixture(scope="session")
def outspoken_no_bos_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without <s>."""
    return make_model(tmp_path_factory.mktemp("outspoken-no-bos"), bos=False, spread=0.2)


def model_of(path: Path, dtype: str = "float32") -> Model:
    return Model("tiny", str(path), None, "tiny-identity", dtype, "tiny", 1e-4, 30_000, False, ())


def unit_of(cell: Cell, adapter: AdapterUnit | None = None) -> ScoreUnit:
    subject, target = adapter.adapter_id if adapter else "base", f"{cell.task}-{cell.language}"
    return ScoreUnit(f"score-{subject}-{target}", subject, target, "tiny", 30_000, adapter, cell)


def put_adapter(store: Store, local: Path, name: str) -> AdapterUnit:
    unit = AdapterUnit(name, "tiny", Source.of([Cell("quiz", "xx")]), 1)
    store.put_adapter(unit.folder, local, record_of(name))
    return unit


def _drawn(task: TaskConfig, language: str, scoring: Scoring) -> dict[str | None, list[int]] | None:
    """What the limit of a scoring takes of a task, as lm-eval is told it."""
    if scoring.limit is None:
        return None
    instances = TaskLibrary([task], scoring).build_requests(Cell(task.name, language))
    return {task.lm_eval_name(language): sorted({instance.doc_id for instance in instances})}


@pytest.fixture(scope="session")
def harness() -> Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]:
    """lm-eval's own results and samples for a task: (metrics, samples in document order)."""
    from lm_eval import evaluator, simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    evaluator.add_env_info = lambda results: None  # `pip list` each time, longer than most tasks

    def run(
        model: Path,
        task: TaskConfig,
        language: str,
        scoring: Scoring | None = None,
        adapter: Path | None = None,
        **hf: Any,
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        scoring = scoring or Scoring()
        name = task.lm_eval_name(language)
        lm = HFLM(
            pretrained=str(model),
            peft=str(adapter) if adapter else None,
            dtype="float32",
            device="cpu",
            **{"batch_size": 4, **hf},
        )
        output = simple_evaluate(
            model=lm,
            tasks=[name],
            task_manager=TaskManager(include_path=task.include_path, include_defaults=False),
            num_fewshot=scoring.num_fewshot,
            samples=_drawn(task, language, scoring),
            apply_chat_template=scoring.apply_chat_template,
            bootstrap_iters=BOOTSTRAP_ITERATIONS,
            log_samples=True,
        )
        return output["results"][name], sorted(output["samples"][name], key=lambda sample: sample["doc_id"])

    return run
