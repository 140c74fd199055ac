"""PEFT on a skeleton is PEFT on the base itself, and the base stays what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from adapters.base.fingerprint import changed, fingerprint
from adapters.base.skeleton import skeleton
from tests.support import peft_zoo, zoo

pytestmark = pytest.mark.processes  # PEFT loads DeepSpeed when it reads a folder
TOKENS = torch.arange(20, 60)[None]
KINDS = (  # a representative part: `python -m tests.zoo.kinds` walks all of them
    "LORA dora",
    "LORA bias all",
    "LORA saves head and embedding",
    "LORA pissa",
    "LORA tokens",
    "LORA embedding",
    "IA3",
    "VERA",
    "LN_TUNING",
    "PREFIX_TUNING",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.make("qwen2", tmp_path_factory.mktemp("qwen2"))


def _loaded(model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval().requires_grad_(False)


@torch.no_grad()
def _logits(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=TOKENS).logits
    return logits


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_peft_on_a_skeleton_leaves_the_base_alone(kind: str, model: Path, tmp_path: Path) -> None:
    folder = peft_zoo.make(model, tmp_path, peft_zoo.kinds("qwen2")[kind], seed=3)
    base = _loaded(model)
    before, plain = fingerprint(base), _logits(base)
    own = {name for name, _ in base.named_parameters() if kind == "LORA bias all" and name.endswith(".bias")}
    wrapped = peft.PeftModel.from_pretrained(skeleton(base, own), folder).eval()
    assert torch.equal(_logits(wrapped), _logits(peft.PeftModel.from_pretrained(_loaded(model), folder).eval()))
    assert not torch.allclose(_logits(wrapped), plain, atol=0.01)
    assert changed(base, before) is None
    assert torch.equal(_logits(base), plain)


def test_a_skeleton_takes_no_memory_for_weights(model: Path) -> None:
    base = _loaded(model)
    copied = dict(skeleton(base, {"model.norm.weight"}).named_parameters())
    shared = {name for name, weight in base.named_parameters() if weight.data_ptr() == copied[name].data_ptr()}
    assert shared == copied.keys() - {"model.norm.weight"}


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    copied = skeleton(_loaded(zoo.make("gpt2", tmp_path)))
    assert copied.lm_head.weight is copied.transformer.wte.weight
