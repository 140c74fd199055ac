"""Where PEFT's `add_weighted_adapter` is right it is what we compose; with rsLoRA it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, PeftModel

from adapters.composing.parts import read_parts
from study.composition import Method, Term
from tests.adapters.composing.conftest import World
from tests.support.compositions import Dense, apart, composed, dense, saved

CONFIGS = {
    "x": LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"]),
    "y": LoraConfig(r=4, lora_alpha=3, target_modules=["q_proj", "down_proj", "v_proj"]),
    "z": LoraConfig(r=4, lora_alpha=8, target_modules=["v_proj", "down_proj"]),
    "rs": LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], use_rslora=True),
}
WEIGHTS = {"x": 0.7, "y": -1.2, "z": 0.4}


@pytest.fixture(scope="module")
def folders(llama: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("peft")
    return {
        name: saved(Path(llama.model.path), config, folder / name, seed)
        for seed, (name, config) in enumerate(CONFIGS.items())
    }


def by_peft(llama: World, folders: dict[str, Path], weights: dict[str, float], kind: str, **more: Any) -> Dense:
    """The dense update of each module that PEFT's combination changes."""
    first, *others = weights
    wrapped = PeftModel.from_pretrained(llama.fresh(), folders[first], adapter_name=first)
    for name in others:
        wrapped.load_adapter(folders[name], name)
    wrapped.add_weighted_adapter(list(weights), list(weights.values()), "made", combination_type=kind, **more)
    return {
        name.removeprefix("base_model.model."): module.get_delta_weight("made").double()
        for name, module in wrapped.named_modules()
        if "made" in getattr(module, "lora_A", ())
    }


def ours(llama: World, folders: dict[str, Path], weights: dict[str, float], method: Method, **more: Any) -> Dense:
    parts = dict(zip(folders, read_parts(llama.base, [Term(name) for name in folders], folders), strict=True))
    return dense(composed(method, weights, parts, **more).weights)


@pytest.mark.parametrize(
    ("method", "kind", "more", "theirs"),
    [
        ("sum", "cat", {}, {}),
        ("svd", "svd", {"rank": 5}, {"svd_rank": 5}),
        ("factors_peft", "linear", {}, {}),
        ("factors_peft_ties", "ties", {"density": 0.4}, {"density": 0.4}),
        ("ties", "ties_svd", {"density": 0.4, "trim": "module", "rank": 6}, {"density": 0.4, "svd_rank": 6}),
    ],
)
def test_it_is_pefts(
    llama: World, folders: dict[str, Path], method: Method, kind: str, more: dict[str, Any], theirs: dict[str, Any]
) -> None:
    weights = dict.fromkeys(WEIGHTS, 1.0) if method == "ties" else WEIGHTS  # PEFT elects before weights
    expected = by_peft(llama, folders, weights, kind, **theirs)
    assert apart(ours(llama, folders, weights, method, **more), expected) < 1e-5


def test_one_term_of_pefts_ties_is_its_linear(llama: World, folders: dict[str, Path]) -> None:
    expected = by_peft(llama, folders, {"x": -0.5}, "ties", density=0.4)
    assert apart(ours(llama, folders, {"x": -0.5}, "factors_peft_ties", density=0.4), expected) < 1e-5


def test_untrimmed_ties_of_factors_is_pefts(llama: World, folders: dict[str, Path]) -> None:
    with pytest.warns(UserWarning, match="density"):
        expected = by_peft(llama, folders, WEIGHTS, "ties", density=1.0)
    assert apart(ours(llama, folders, WEIGHTS, "factors_peft_ties", density=1.0), expected) < 1e-5


@pytest.mark.parametrize(
    ("method", "kind", "rank"), [("sum", "cat", None), ("svd", "svd", 4), ("factors_peft", "linear", None)]
)
def test_with_rslora_it_is_the_dense_sum_and_not_pefts(
    llama: World, folders: dict[str, Path], method: Method, kind: str, rank: int | None
) -> None:
    """PEFT writes alpha = r into a config that says rsLoRA: too large by √r of the result."""
    made = ours(llama, folders, {"rs": 0.5}, method, rank=rank)
    theirs = by_peft(llama, folders, {"rs": 0.5}, kind, **({} if rank is None else {"svd_rank": rank}))
    (part,) = read_parts(llama.base, [Term("rs")], {"rs": folders["rs"]})
    assert apart(made, {name: 0.5 * x for name, x in dense(part).items()}) < 1e-6
    assert apart(theirs, {name: 2 * x for name, x in made.items()}) < 1e-6
