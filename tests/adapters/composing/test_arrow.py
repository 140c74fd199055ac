"""Arrow on a skeleton is PEFT's own arrow model, and the base stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import ArrowConfig, LoraConfig
from peft.tuners.lora.arrow import create_arrow_model
from transformers import AutoModelForCausalLM

from adapters.base.fingerprint import changed, fingerprint
from adapters.composing.arrow import arrow_model
from adapters.folders.folder import UnsupportedAdapter
from adapters.modules.loaded import runs
from study.composition import Term
from tests.adapters.composing.conftest import World
from tests.support.compositions import composition, saved

TOKENS = torch.arange(3, 67).view(2, 32)
MODULES = ["q_proj", "down_proj"]
CONFIGS = {  # one rank, alphas of their own
    "x": LoraConfig(r=4, lora_alpha=8, target_modules=MODULES),
    "y": LoraConfig(r=4, lora_alpha=30, target_modules=MODULES),
    "z": LoraConfig(r=4, lora_alpha=16, target_modules=MODULES, use_rslora=True, lora_dropout=0.5),
    "wide": LoraConfig(r=5, lora_alpha=8, target_modules=MODULES),
    "more": LoraConfig(r=4, lora_alpha=8, target_modules=[*MODULES, "v_proj"]),
    "one": LoraConfig(r=4, lora_alpha=8, target_modules=["layers.0.self_attn.q_proj"]),
}


@pytest.fixture(scope="module")
def folders(llama: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("arrow")
    return {
        name: saved(Path(llama.model.path), config, folder / name, seed)
        for seed, (name, config) in enumerate(CONFIGS.items())
    }


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=TOKENS).logits
    return found


def of(folders: dict[str, Path], *names: str) -> dict[str, Path]:
    return {name: folders[name] for name in names}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("top_k", [1, 2])
def test_it_is_pefts_and_the_base_is_untouched(
    llama: World, folders: dict[str, Path], dtype: torch.dtype, top_k: int
) -> None:
    def base() -> Any:
        return AutoModelForCausalLM.from_pretrained(llama.model.path, dtype=dtype).eval().requires_grad_(False)

    own, parts = base(), of(folders, "x", "y", "z")
    before, alone = fingerprint(own), logits(own)
    asked = composition("arrow", *map(Term, parts), top_k=top_k, temperature=0.5, draw=7)
    found = logits(runs(arrow_model(own, asked, parts)))
    config = ArrowConfig(top_k=top_k, router_temperature=0.5, rng_seed=7)
    expected = logits(create_arrow_model(base(), [str(path) for path in parts.values()], config).eval())
    assert torch.equal(found, expected)
    assert (found - alone).abs().max() > 0.05, "it should do something"
    assert changed(own, before) is None
    assert torch.equal(logits(own), alone)


def test_a_row_of_a_batch_is_what_it_is_alone(llama: World, folders: dict[str, Path]) -> None:
    parts = of(folders, "x", "y")
    model = runs(arrow_model(llama.base, composition("arrow", *map(Term, parts), top_k=1), parts))
    with torch.no_grad():
        alone = model(input_ids=TOKENS[1:]).logits
    torch.testing.assert_close(logits(model)[1:], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("terms", "parameters", "told"),
    [
        ((Term("wide"), Term("x")), {}, "its rank is 5 in wide, 4 in x"),
        ((Term("more"), Term("x")), {}, "x does not adapt model.layers.0.self_attn.v_proj"),
        ((Term("x", 0.5), Term("y")), {}, "x has a weight"),
        ((Term("one"),), {}, "do not adapt model.layers.1.self_attn.q_proj"),
    ],
)
def test_what_peft_would_mistake_is_refused(
    llama: World, folders: dict[str, Path], terms: tuple[Term, ...], parameters: dict[str, Any], told: str
) -> None:
    parts = of(folders, *(term.adapter_id for term in terms))
    with pytest.raises(UnsupportedAdapter, match=told):
        arrow_model(llama.base, composition("arrow", *terms, **parameters), parts)
