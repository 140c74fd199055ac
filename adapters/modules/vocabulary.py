"""Adapters that were trained with tokens of their own: an embedding and a head of other lengths than the base's.

Invariant: no number that is drawn at random is ever computed with. The rows that a resized embedding or head gets are
no numbers (NaN) until the adapter's own take their place.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from adapters.base.loading import embedded
from adapters.folders.folder import PREFIX
from study.store.layout import WEIGHTS_FILE
from study.store.safetensors_header import header_in

_WHOLE = re.compile(r"(\.base_layer|\.modules_to_save)?\.weight$")  # what follows a module's name in its whole weight


def own_rows(folder: Path, base: PreTrainedModel) -> int | None:
    """How many tokens an adapter's embedding or head has, where these are more or fewer than the base's."""
    try:
        shapes = header_in(folder / WEIGHTS_FILE).shapes
    except (OSError, ValueError):  # loading says what is wrong
        return None
    ends = [module for module in _ends(base) if module is not None]
    places = {f"{PREFIX}{name}" for name, module in base.named_modules() if any(module is end for end in ends)}
    rows = {shape[0] for name, shape in shapes.items() if len(shape) == 2 and _WHOLE.sub("", name) in places}
    return max(rows - {embedded(base)}, default=None)


def resize(model: PreTrainedModel, rows: int) -> None:
    """Give a model's embedding and head so many rows. Those that are new are NaN."""
    before = embedded(model)
    model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for module in _ends(model):
            for values in (getattr(module, "weight", None), getattr(module, "bias", None)):
                if values is not None:
                    values[before:] = float("nan")


@torch.no_grad()
def lacking(model: PreTrainedModel, before: int, rows: int) -> str | None:
    """What gives the tokens from `before` on no numbers, the embedding or the head; None where both do."""
    if rows <= before:
        return None
    added = torch.arange(before, rows, device=model.device)
    embedding, _ = _ends(model)
    if not torch.isfinite(embedding(added)).all():
        return "embedding"
    logits = model(input_ids=added[None, :1], use_cache=False).logits
    return None if torch.isfinite(logits).all() else "head"


def _ends(model: PreTrainedModel) -> tuple[Any, Any]:
    return model.get_input_embeddings(), model.get_output_embeddings()  # type: ignore[no-untyped-call]
