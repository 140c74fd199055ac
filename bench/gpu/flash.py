"""The library flash-attn in place of torch's own attention, where it is installed: what it says, learns and gains."""

from __future__ import annotations

import torch
from transformers.utils import is_flash_attn_2_available

from bench.gpu.checks import TOLERANCE, apart, by_transformers, scored, watched
from bench.gpu.gang import Batches, gang
from bench.gpu.kit import LONG, Kit
from evaluators.forward.engine import Engine
from evaluators.forward.masks import FLASH
from evaluators.forward.rows import plain_rows, shared_rows


def flash(kit: Kit) -> None:
    """Scores and a gang's steps beside those by sdpa; in bfloat16, for it has no float32."""
    if not kit.is_cuda or not is_flash_attn_2_available():
        kit.tell("flash", "left out", "the library flash-attn is not installed")
        return
    shape = kit.checked if kit.tiny else LONG
    base, requests = shape.model(torch.bfloat16, kit.device), shape.requests()
    expected, count = by_transformers(base, requests), len(requests)
    batches, learned, lasted = Batches(shape, kit.device, 2, 40 if kit.tiny else 2048), [], []
    for attention in ("sdpa", FLASH):
        base.set_attn_implementation(attention)
        with gang(base, [0, 1], batches) as two:
            begun = two.rows()
            for _ in range(4):
                two.step()
            learned.append(two.rows() - begun)
            if attention == FLASH:
                with watched():
                    two.step()
            lasted.append(kit.seconds(two.step))
    kit.tell("flash", "waits in a step of a gang", 0, holds=True)
    off = float((learned[1] - learned[0]).norm() / learned[0].norm())
    kit.tell("flash", "a gang beside one by sdpa", off, "of what it learned", off <= 0.1)
    kit.tell("flash", "seconds of a gang's step beside those by sdpa", lasted[1] / lasted[0])
    engine = Engine(base, attention=FLASH)
    ways = {"plain": plain_rows(requests, range(count)), "shared": shared_rows(requests, range(count), 512)}
    for way, rows in ways.items():
        off = apart(scored(engine, rows, count), expected, requests)
        kit.tell("flash", f"{way} rows beside sdpa", off, "nats/token", off <= TOLERANCE[torch.bfloat16])
