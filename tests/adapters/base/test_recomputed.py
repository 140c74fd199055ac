"""What is computed again in a backward pass is what was computed; of each layer only its input is kept meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapters.bank.dropout import Dropout
from adapters.kinds.kind import kind_of
from study.config import Recipe
from study.errors import ConfigError
from tests.support import zoo

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.processes]  # PEFT loads DeepSpeed
DROPPING = {"r": 4, "alpha": 8, "dropout": 0.3}
TOKENS = torch.randint(320, (3, 40), generator=torch.Generator().manual_seed(5))


def trained(sheet: Any) -> tuple[torch.Tensor, torch.Tensor, int]:
    """What a sheet gives, the gradient of its weights, and the numbers that are kept for the backward pass."""
    kept = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    sheet.weights.requires_grad_().grad = None
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        given = {"input_ids": TOKENS, "use_cache": False}
        logits = sheet.logits(given, [0, 1, 1], Dropout(0.3, torch.tensor([3, 4, 5])))
        loss = logits.log_softmax(-1)[..., 7].sum()
    loss.backward()
    return logits.detach(), sheet.weights.grad.clone(), kept


@pytest.mark.parametrize("stated", [{"kind": "dora", "lora": DROPPING}, {"lora": {**DROPPING, "init": "pissa"}}])
@pytest.mark.parametrize("base_of", ["llama", "gpt2"])
def test_the_same_bits_and_fewer_numbers_kept(base_of: str, stated: dict[str, Any]) -> None:
    base = zoo.build(base_of, 320).eval().requires_grad_(False)
    sheet: Any = kind_of(Recipe.model_validate(stated)).sheet(base, [("a", 1), ("b", 2)], torch.device("cpu"))
    with torch.no_grad():
        sheet.weights.add_(0.02 * torch.randn(sheet.weights.shape, generator=torch.Generator().manual_seed(2)))
    logits, gradient, kept = trained(sheet)
    sheet.recompute()
    again, its, fewer = trained(sheet)
    assert torch.equal(logits, again)
    assert torch.equal(gradient, its)
    assert fewer < kept / 3
    sheet.detach()
    assert not any("forward" in vars(module) for module in base.modules())


def test_a_base_without_such_layers_is_refused() -> None:
    base = zoo.build("llama", 320).eval().requires_grad_(False)
    base.model.layers = torch.nn.ModuleList()
    sheet: Any = kind_of(Recipe.model_validate({"lora": {"modules": ["lm_head"]}}))
    with pytest.raises(ConfigError, match=r"training\.gradient_checkpointing = 'True': LlamaForCausalLM has no layers"):
        sheet.sheet(base, [("a", 1)], torch.device("cpu")).recompute()
