"""Text that is written on a device, with a bank and without, beside transformers' own `generate`."""

from __future__ import annotations

from typing import Any

import torch

from bench.gpu.gang import adapter
from bench.gpu.kit import Kit

MODEL = "examples/quickstart/polyglot-nano"
PROMPTS = ("one two", "the red house is", "a", "where is the river of the north")
TOKENS = 12


def writing(kit: Kit) -> None:
    """In float32: the same texts, whose prompts are of several lengths and lie in one batch."""
    from lm_eval.api.instance import Instance

    from evaluators.forward.engine import Engine
    from evaluators.forward.generate import Writer
    from evaluators.items.encoder import encoder_of
    from evaluators.subjects.on_base import load_base
    from evaluators.subjects.sharing import bank_on
    from study.config import ModelConfig
    from study.models.resolve import resolve

    model = resolve(ModelConfig(id=MODEL), "float32", "models[0]")
    base: Any = load_base(model)
    engine, tokenizer = Engine(base, 512), encoder_of(model).tokenizer
    writer = Writer(engine, tokenizer, 256)
    how = {"until": ["###"], "max_gen_toks": TOKENS, "do_sample": False}
    asked: Any = [Instance("generate_until", {}, (text, how), 0) for text in PROMPTS]
    expected = [_written(base, tokenizer, text) for text in PROMPTS]

    def told(what: str, slots: list[int | None]) -> None:
        found = [one.text for one in writer.write(asked, slots, 64)]
        same = sum(one == other for one, other in zip(found, expected, strict=True))
        kit.tell("writing", f"{what}: the same texts as generate's", same, f"of {len(PROMPTS)}", same == len(PROMPTS))

    told("the base", [None] * len(PROMPTS))
    with bank_on(engine, [adapter(base, 1), adapter(base, 2, 0.05)]):
        told("the base, and one whose B is nothing, in a bank", [0, None, 0, None])


@torch.inference_mode()
def _written(base: Any, tokenizer: Any, text: str) -> str:
    """By itself, up to where it ends."""
    ids_BT = torch.tensor([tokenizer(text).input_ids], device=base.device)
    written_BT = base.generate(ids_BT, max_new_tokens=TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return str(tokenizer.decode(written_BT[0, ids_BT.shape[1] :], skip_special_tokens=True)).split("###")[0]
