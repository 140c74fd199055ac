"""Random adapters on random architectures: in one bank, and merged or wrapped alone, each is what PEFT makes of it."""

from __future__ import annotations

import copy
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from adapters.base.onednn import use_onednn
from adapters.folders.sites import sites_named
from adapters.folders.targeting import meant
from adapters.modules.plain import plain_lora
from evaluators.forward.engine import Engine
from evaluators.forward.rows import Request, Row, plain_rows, shared_rows
from evaluators.subjects.on_base import adapter_on
from evaluators.subjects.sharing import bank_on
from evaluators.subjects.touchstone import Touchstone
from tests.evaluators.test_architectures import ARCHITECTURES, MODULES

VOCABULARY = 99
TOKENS = st.lists(st.integers(3, VOCABULARY - 1), min_size=1, max_size=6)


@cache
def base_of(name: str) -> Any:
    config, fields, _ = ARCHITECTURES[name]
    torch.manual_seed(0)
    return tf.AutoModelForCausalLM.from_config(config(vocab_size=VOCABULARY, **fields)).eval().requires_grad_(False)


@st.composite
def adapters(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Arguments of a LoraConfig: rank, modules, scaling and exceptions from them."""
    known = MODULES.get(name) or sorted(
        {site.name.split(".")[-1] for site in sites_named(base_of(name), meant(base_of(name), "all-linear"))}
    )
    modules = draw(st.lists(st.sampled_from(known), min_size=1, unique=True))
    patterns = st.dictionaries(st.sampled_from(modules), st.integers(1, 9), max_size=2)
    return {
        "r": draw(st.integers(1, 6)),
        "lora_alpha": draw(st.integers(1, 16)),
        "use_rslora": draw(st.booleans()),
        "rank_pattern": draw(patterns),
        "alpha_pattern": draw(patterns),
        "target_modules": modules,
        "use_dora": name == "llama" and draw(st.integers(0, 3)) == 0,
    }


def save(base: Any, lora: dict[str, Any], folder: Path) -> Any:
    """Write the adapter with weights that matter; returns PEFT's own model of it."""
    wrapped = get_peft_model(copy.deepcopy(base), LoraConfig(task_type="CAUSAL_LM", **lora))
    for parameter_name, parameter in wrapped.named_parameters():
        if "lora_A" in parameter_name or "lora_B" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.2)
    wrapped.save_pretrained(folder)
    return wrapped.eval()


@torch.no_grad()
def by_peft(model: Any, requests: list[Request]) -> list[float]:
    found = []
    for request in requests:
        logprobs = model(input_ids=torch.tensor([request.tokens[:-1]])).logits[0].log_softmax(-1)
        wanted = torch.tensor(request.tokens[-request.n_scored :])
        found.append(float(logprobs[-request.n_scored :].gather(1, wanted[:, None]).sum()))
    return found


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=16)
@given(st.data())
def test_any_adapters_on_any_architecture_are_what_peft_makes_of_them(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(set(ARCHITECTURES) - {"gpt2"})))
    base = copy.deepcopy(base_of(name))
    use_onednn(base)
    configs = data.draw(st.lists(adapters(name), min_size=1, max_size=3))
    items = data.draw(st.lists(st.tuples(TOKENS, st.lists(TOKENS, min_size=1, max_size=3)), min_size=1, max_size=3))
    requests = [Request((*prompt, *option), len(option)) for prompt, options in items for option in options]
    lay_out: Any = partial(shared_rows, cap=600) if ARCHITECTURES[name][2] == "shared" else plain_rows
    rows: list[Row] = []
    start = 0
    for _, options in items:
        rows += lay_out(requests[start : start + len(options)], range(start, start + len(options)))
        start += len(options)
    known = Touchstone(base)
    engine = Engine(base, data.draw(st.integers(10, 300)))
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / str(number) for number in range(len(configs))]
        expected = [by_peft(save(base_of(name), *pair), requests) for pair in zip(configs, folders, strict=True)]
        together = []
        for number, folder in enumerate(folders):
            weights = plain_lora(folder, base)
            assert (weights is None) == configs[number]["use_dora"]
            if weights is not None:
                together.append((number, weights))
            with adapter_on(base, folder, known) as model, engine.running(model):
                lls, _ = engine.loglikelihoods(rows, len(requests))
            assert lls == pytest.approx(expected[number], abs=1e-3)
        if together:
            with bank_on(engine, [weights for _, weights in together]):
                every = [row.numbered_from(k * len(requests), k) for k in range(len(together)) for row in rows]
                lls, _ = engine.loglikelihoods(every, len(requests) * len(together))
            assert lls == pytest.approx([ll for number, _ in together for ll in expected[number]], abs=1e-3)
        untouched, _ = engine.loglikelihoods(rows, len(requests))
        assert untouched == pytest.approx(by_peft(base_of(name), requests), abs=1e-3)
