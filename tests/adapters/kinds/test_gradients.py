"""What a sheet gives, and the gradient of its weights, are those of PEFT's own modules; biases and Conv1D too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import get_peft_model

from adapters.bank.dropout import Dropout
from adapters.base.skeleton import skeleton
from adapters.kinds.kind import kind_of
from adapters.kinds.lora_weights import lora_config
from study.config import Recipe
from tests.support import zoo
from tests.support.plain_peft import SameDropout

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.processes]  # PEFT loads DeepSpeed
LORA = {"r": 4, "alpha": 8}
TOKENS = torch.randint(320, (2, 9), generator=torch.Generator().manual_seed(5))
ROWS = {"input_ids": TOKENS, "use_cache": False}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(
    ("base_of", "kind", "init"),
    [
        ("gpt2", "dora", "default"),
        ("qwen2", "dora", "default"),
        ("gpt2", "lora", "pissa"),
        ("qwen2", "lora", "pissa"),
        ("qwen2", "lora", "olora"),  # of GPT-2's transposed matrices PEFT takes the wrong parts, which fit none of them
    ],
)
def test_gradients_are_pefts(base_of: str, kind: str, init: str, dropout: float) -> None:
    base = zoo.build(base_of, 320).eval().requires_grad_(False)
    for weight in base.parameters():
        if weight.dim() == 1:
            weight.data = weight + 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    recipe = Recipe.model_validate({"kind": kind, "lora": {**LORA, "init": init, "dropout": dropout}})
    assert recipe.lora is not None
    own = skeleton(base, [name for name, _ in base.named_parameters()])
    config: Any = lora_config(recipe.lora)
    config.use_dora, config.init_lora_weights = kind == "dora", True if init == "default" else init
    theirs: Any = get_peft_model(own, config)
    sheet: Any = kind_of(recipe).sheet(base, [("a", 1), ("b", 2)], torch.device("cpu"))
    keys = torch.tensor([3, 4])
    adapted = {name: module for name, module in theirs.base_model.model.named_modules() if hasattr(module, "lora_A")}
    draw = torch.Generator().manual_seed(2)
    for number, (site, (a, b, *magnitude)) in enumerate(sheet.bank._cut(sheet.weights.data[1])):
        module = adapted[site.name]
        for mine, other in ((a, module.lora_A), (b, module.lora_B)):
            mine += 0.02 * torch.randn(mine.shape, generator=draw)
            other["default"].weight.data.copy_(mine)
        for mine in magnitude:
            mine *= 1 + 0.1 * torch.rand(mine.shape, generator=draw)
            module.lora_magnitude_vector["default"].weight.data.copy_(mine)
        if dropout:
            module.lora_dropout["default"] = SameDropout(dropout, number, {"now": keys})
    sheet.weights.requires_grad_()
    ours = sheet.logits(ROWS, [1, 1], Dropout(dropout, keys) if dropout else None)
    theirs.eval()
    for module in adapted.values():
        module.training = True  # the base's own dropout stays off
    expected = theirs(**ROWS).logits
    torch.testing.assert_close(ours, expected, atol=2e-5, rtol=1e-4)
    for logits in (ours, expected):
        logits.log_softmax(-1)[..., 7].sum().backward()
    gradients = torch.split_with_sizes(sheet.weights.grad[1], sheet.bank._sizes)
    names = ["lora_A.default.weight", "lora_B.default.weight", "lora_magnitude_vector.default.weight"]
    found = iter(gradients)
    for site in sheet.bank.sites:
        for name, shape in zip(names, site.shapes(4), strict=False):
            other = adapted[site.name].get_parameter(name).grad
            torch.testing.assert_close(next(found).view(shape), other, atol=2e-5 * float(other.abs().max()), rtol=1e-3)
    assert not sheet.weights.grad[0].any()
    sheet.detach()


@pytest.mark.parametrize(("kind", "init"), [("dora", "default"), ("lora", "pissa")])
def test_rows_without_an_adapter_are_the_bases(kind: str, init: str) -> None:
    """Beside those of an adapter that is far from it, and alone."""
    base = zoo.build("qwen2", 320).eval().requires_grad_(False)
    recipe = Recipe.model_validate({"kind": kind, "lora": {**LORA, "init": init}})
    alone = base(**ROWS).logits
    sheet: Any = kind_of(recipe).sheet(base, [("a", 1)], torch.device("cpu"))
    begun = sheet.logits(ROWS, [0, 0], None)
    torch.testing.assert_close(begun, alone, atol=1e-5, rtol=1e-4)
    sheet.weights.data *= 3
    mixed = sheet.logits(ROWS, [None, 0], None)
    assert torch.equal(mixed[0], alone[0])
    assert not torch.allclose(mixed[1], alone[1], atol=1e-2)
    assert torch.equal(sheet.logits(ROWS, [None, None], None), alone)
    sheet.detach()
    assert torch.equal(base(**ROWS).logits, alone)
