"""A base over two devices: what one says, nothing on the wrong one, and a batch waits for nothing but its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers as tf

from adapters.bank.bank import Banks
from adapters.base import loading
from adapters.base.fingerprint import changed, fingerprint
from adapters.base.loading import load_model
from adapters.base.skeleton import skeleton
from adapters.folders.sites import sites_named
from adapters.folders.targeting import meant
from adapters.modules.comparison import at_random
from adapters.splitting.split import devices_of
from evaluators.evaluator import Evaluator, Settings
from evaluators.forward.engine import Engine, automatic_budget
from evaluators.forward.masks import Masks
from evaluators.forward.rows import Row
from evaluators.subjects.on_base import load_base, merged
from evaluators.subjects.sharing import bank_on
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.errors import ConfigError
from study.store.store import Store
from tests.device.on_device.test_scoring import REQUESTS, once, rows
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, unit_of, write_task
from tests.evaluators.test_architectures import GROUPED, SIZE, WINDOW
from tests.support.tiny_models import make_model, make_tokenizer, save_model

DEEP = {**GROUPED, "num_hidden_layers": 4}
EXPERTS = {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
GPUS = (torch.device("cuda", 0), torch.device("cuda", 1))
ARCHITECTURES: dict[str, tuple[type[tf.PretrainedConfig], dict[str, Any]]] = {
    "llama": (tf.LlamaConfig, DEEP),
    "gpt2": (tf.GPT2Config, {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 256, "initializer_range": 0.2}),
    "gemma3, its head tied": (
        tf.Gemma3TextConfig,
        {**DEEP, "head_dim": 8, "sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"] * 2},
    ),
    "gpt-neox": (tf.GPTNeoXConfig, {**SIZE, "num_hidden_layers": 4}),
    "experts": (tf.Qwen3MoeConfig, {**DEEP, **EXPERTS}),
    "opt, positions of a table": (
        tf.OPTConfig,
        {**SIZE, "num_hidden_layers": 4, "ffn_dim": 64, "init_std": 0.2},
    ),
}
SHORT = {"until": ["\n"], "max_gen_toks": 4}
WRITING = {"output_type": "generate_until", "generation_kwargs": SHORT, "doc_to_choice": None}
RATED = {"output_type": "loglikelihood_rolling", "doc_to_choice": None, "doc_to_target": "{{question}}"}
KINDS: dict[str, peft.PeftConfig] = {
    "dora": peft.LoraConfig(use_dora=True, target_modules="all-linear", task_type="CAUSAL_LM"),
    "head": peft.LoraConfig(modules_to_save=["lm_head"], target_modules=["q_proj"], task_type="CAUSAL_LM"),
    "prompt": peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    "prefix": peft.PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_says_the_same_with_adapters_and_without(name: str, tmp_path: Path) -> None:
    config, fields = ARCHITECTURES[name]
    vocabulary = make_tokenizer(tmp_path)
    torch.manual_seed(0)
    save_model(tf.AutoModelForCausalLM.from_config(config(vocab_size=vocabulary, **fields)), tmp_path)
    on_cpu: Any = load_model(model_of(tmp_path)).eval().requires_grad_(False)
    base: Any = load_base(model_of(tmp_path), 2)
    assert {weight.device for weight in base.parameters()} == {*GPUS}
    before, said = fingerprint(base), _said if name == "experts" else once  # transformers waits for experts' counts
    sites = sites_named(base, meant(base, "all-linear"))
    some = at_random({one.name: (3, one.fan_in, one.fan_out) for one in sites}, {one.name: 1.0 for one in sites})
    engine, expected = Engine(base, 200), Engine(on_cpu, 200).loglikelihoods(rows(), REQUESTS)[0]
    assert said(engine, rows(), REQUESTS) == pytest.approx(expected, abs=1e-4)
    with merged(on_cpu, some):
        beside = Engine(on_cpu, 200).loglikelihoods(rows(), REQUESTS)[0]
    assert np.abs(beside - expected).max() > 0.05
    with bank_on(engine, [some]):
        assert isinstance(engine.bank, Banks)
        both = said(engine, rows((0, None)), 2 * REQUESTS)
    assert both == pytest.approx(np.concatenate([beside, expected]), abs=2e-3)
    with merged(base, some):
        assert said(engine, rows(), REQUESTS) == pytest.approx(beside, abs=2e-3)
    assert changed(base, before) is None


def _said(engine: Engine, some: list[Row], count: int) -> np.ndarray:
    return engine.loglikelihoods(some, count)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("outspoken"), layers=3, spread=0.2)


def test_a_split_base_is_sized_by_its_fullest_device_and_moves_as_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base: Any = load_base(model_of(folder), 2)
    assert devices_of(base) == GPUS
    assert Masks(base).flex_from is None
    assert Masks(load_base(model_of(folder))).flex_from is not None
    found = []
    for free in ((100, 4000), (4000, 100)):
        monkeypatch.setattr("evaluators.forward.engine.room", lambda on, free=free: free[on.index] << 20)
        found.append(automatic_budget(base))
    assert found[0] == found[1] < 32768
    copy = skeleton(base, [name for name, _ in base.named_parameters()])
    copy.to("cpu")
    assert {one.device for one in base.parameters()} == {*GPUS}


def test_a_base_that_cannot_be_split_or_run_so_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.LlamaForCausalLM, "_no_split_modules", None)
    monkeypatch.setattr(tf.LlamaModel, "_no_split_modules", None)
    with pytest.raises(ConfigError, match="cannot be split over 2 GPUs: transformers does not know"):
        load_base(model_of(folder), 2)
    monkeypatch.undo()
    monkeypatch.setattr(loading, "probe", lambda _: torch.ones(1, device=GPUS[0]) + torch.ones(1, device=GPUS[1]))
    for gpus, fix in ((1, "fix: take another"), (2, r"fix: set evaluators.resources to \{GPU: 1\}")):
        with pytest.raises(ConfigError, match=f"cannot be run on tokens alone: (.|\n)*{fix}"):
            loading.check_readable(load_base(model_of(folder), gpus), model_of(folder))


def _as_kind(model: Path, folder: Path, config: peft.PeftConfig) -> Path:
    """An adapter of a kind with weights at random."""
    torch.manual_seed(1)
    wrapped = peft.get_peft_model(tf.AutoModelForCausalLM.from_pretrained(model), config)
    for name, weight in wrapped.named_parameters():
        if weight.requires_grad and "magnitude" not in name:
            weight.data += torch.randn(weight.shape) * 0.2
    wrapped.save_pretrained(folder)
    return folder


def test_a_study_is_scored_as_on_one_device(folder: Path, tmp_path: Path) -> None:
    """Adapters that share batches, PEFT's own modules, vectors before a text; options, written answers, rated texts."""
    exact = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    bits = {"metric": "bits_per_byte", "aggregation": "bits_per_byte", "higher_is_better": False}
    write_task(tmp_path / "tasks", "quiz_en", make_docs(3, seed=1))
    answer = {"doc_to_target": "{{choices[answer]}}", "metric_list": [exact]}
    write_task(tmp_path / "tasks", "says_en", make_docs(2, seed=2), **{**WRITING, **answer})
    write_task(tmp_path / "tasks", "reads_en", make_docs(2, seed=3), **{**RATED, "metric_list": [bits]})
    tasks = tuple(
        TaskConfig(name=name, lm_eval=f"{name}_{{language}}", include_path=str(tmp_path / "tasks"))
        for name in ("quiz", "says", "reads")
    )
    folders = {name: _as_kind(folder, tmp_path / name, config) for name, config in KINDS.items()}
    folders |= {name: make_adapter(folder, tmp_path / name, seed) for seed, name in enumerate(("a", "b"))}
    said: dict[int, dict[Any, Any]] = {}
    for gpus in (1, 2):
        store = Store(str(tmp_path / f"store{gpus}"))
        adapters = [put_adapter(store, one, name) for name, one in folders.items()]
        evaluator = Evaluator(model_of(folder), store, Settings(tasks, Scoring(), gpus=gpus))
        assert len(evaluator._engine.devices) == gpus
        scored = evaluator.score([unit_of(Cell(task.name, "en"), one) for one in (None, *adapters) for task in tasks])
        assert [one.message for one in scored if not one.ok] == []
        items = store.items().to_pylist()
        said[gpus] = {(one["score_id"], one["doc_id"]): (one["loglikelihoods"], one["generation"]) for one in items}
    assert said[1].keys() == said[2].keys()
    for key, (numbers, text) in said[1].items():
        assert said[2][key][1] == text, key
        assert said[2][key][0] == pytest.approx(numbers, abs=2e-3), key
    assert len({str(one) for one in said[1].values()}) > len(said[1]) * 3 // 4, "adapters matter"
