"""A base whose adapters PEFT would load otherwise than they are trained is refused before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapters.base.fingerprint import changed, fingerprint
from adapters.folders.targeting import left_out, linear
from adapters.kinds import lora_check
from adapters.kinds.kind import kind_of
from adapters.kinds.lora_check import check
from study.config import Lora, Recipe
from study.errors import ConfigError
from tests.evaluators.conftest import model_of
from tests.support import zoo

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.processes]  # PEFT loads DeepSpeed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["llama", "gpt2", "glm4_moe", "mamba", "zamba2", "blt"])  # blt has no cache to ask for
def test_what_is_trained_is_what_peft_loads(kind: str, dtype: torch.dtype, tmp_path: Any) -> None:
    base = zoo.build(kind, 320).to(dtype).requires_grad_(False)
    before = fingerprint(base)
    for is_scaled in (False, True):
        check(base, Lora(r=4, alpha=8, rslora=True), model_of(tmp_path), is_scaled)
    assert changed(base, before) is None


def test_a_difference_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base = zoo.build("llama", 320).requires_grad_(False)
    lora = Lora(r=4, alpha=8)
    honest = lora_check.write

    def without_scaling(folder: Any, lora: Lora, *rest: Any) -> None:
        honest(folder, lora.model_copy(update={"alpha": 1}), *rest)

    monkeypatch.setattr(lora_check, "write", without_scaling)
    with pytest.raises(ConfigError, match="otherwise than it is trained"):
        check(base, lora, model_of(tmp_path), is_scaled=False)


def test_what_is_left_out_is_told_by_name() -> None:
    assert left_out(zoo.build("llama", 320)) == ()
    assert left_out(zoo.build("mamba", 320)) == ("out_proj",)
    assert left_out(zoo.build("qwen3_moe", 320)) == ("down_proj", "gate", "gate_up_proj")


def test_a_rank_that_a_matrix_has_no_room_for_is_refused_in_the_plan(tmp_path: Any) -> None:
    base = zoo.build("llama", 320)
    base.config.save_pretrained(tmp_path)
    smallest = min(min(base.get_submodule(name).weight.shape) for name in linear(base))
    for init in ("pissa", "olora"):
        kind_of(Recipe(lora=Lora(r=smallest, init=init))).check_plan(model_of(tmp_path), 64)
        with pytest.raises(
            ConfigError, match=rf"recipe\.lora\.r = '{smallest + 1}': is more than model\.layers\.0\S+ has"
        ):
            kind_of(Recipe(lora=Lora(r=smallest + 1, init=init))).check_plan(model_of(tmp_path), 64)
    kind_of(Recipe(lora=Lora(r=smallest + 1))).check_plan(model_of(tmp_path), 64)
