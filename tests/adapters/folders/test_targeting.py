"""Names in an adapter's config adapt in PEFT the modules that were meant, and nothing else."""

from __future__ import annotations

import pytest

from adapters.folders.folder import UnsupportedAdapter
from adapters.folders.targeting import all_linear, by_peft, linear, names_for
from tests.support import zoo

LAST_PARTS = ("llama", "gpt2", "qwen2_moe", "gpt_neox", "opt")
FULL_NAMES = ("ctrl", "zamba2", "gemma3n_text", "reformer")
LEAVES_OUT = {  # of all linear modules, by their last names
    "mamba": {"out_proj"},
    "falcon_h1": {"out_proj"},
    "glm4_moe": {"gate_proj", "up_proj", "down_proj"},
    "dots1": {"gate_proj", "up_proj", "down_proj"},
}


@pytest.mark.parametrize("kind", [*LAST_PARTS, *FULL_NAMES, *LEAVES_OUT])
def test_names_mean_these_modules_and_no_others(kind: str) -> None:
    base = zoo.build(kind, 320)
    targets = all_linear(base)
    names = names_for(base, targets.modules)
    assert set(by_peft(base, names).modules) == set(targets.modules)
    assert all("." in name for name in names) == (kind in FULL_NAMES)
    left_out = {name.rpartition(".")[2] for name in set(linear(base)) - set(targets.modules)}
    assert left_out == LEAVES_OUT.get(kind, set())


def test_fused_experts_are_told() -> None:
    assert {name.rpartition(".")[2] for name in all_linear(zoo.build("mixtral", 320)).parameters} == {
        "gate_up_proj",
        "down_proj",
        "weight",  # of the router
    }


def test_modules_that_peft_reads_as_others_have_no_names() -> None:
    base = zoo.build("glm4_moe", 320)
    with pytest.raises(UnsupportedAdapter, match="leaves out"):
        names_for(base, linear(base))
