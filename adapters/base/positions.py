"""What a model makes of positions: of how many it knows, and where that depends on how long a batch's texts are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

_BY_LONGEST = ("longrope", "su")  # the latter is its first name
_BEFORE = 2  # rows of a table that some have before that of the first position


def positions_of(base: PreTrainedModel) -> int | None:
    """How many tokens a base reads where it looks their positions up in a table; None where it has no such table.

    It may be a shell without weights.
    """
    most = getattr(base.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(most, int):
        return None
    tokens = base.get_input_embeddings()
    learned = [one.num_embeddings for one in base.modules() if isinstance(one, nn.Embedding) and one is not tokens]
    fixed = [len(one) for one in base.buffers() if one.dim() == 2]
    return most if any(most <= rows <= most + _BEFORE for rows in (*learned, *fixed)) else None


def turn_of(config: PretrainedConfig) -> int | None:
    """The length (tokens) over which one text turns the positions of its whole batch by other factors.

    None where there is none. LongRoPE has two sets of factors, and takes that of the longest text. (Dynamic NTK scaling
    turns beyond the model's own length alone, and no text is read that far.)
    """
    config = config.get_text_config()
    turns = [
        int(length)
        for rope in _ropes(config)
        if rope.get("rope_type", rope.get("type")) in _BY_LONGEST
        for length in (rope.get("original_max_position_embeddings"), _original(config))
        if isinstance(length, int)
    ]
    return min(turns, default=None)


def _original(config: PretrainedConfig) -> object:
    return getattr(config, "original_max_position_embeddings", None)


def _ropes(config: PretrainedConfig) -> Iterator[Mapping[str, object]]:
    """What a config says of rotary positions: of all layers, or of each kind of them."""
    for key in ("rope_parameters", "rope_scaling"):
        said = getattr(config, key, None)
        for rope in (said, *(said.values() if isinstance(said, Mapping) else ())):
            if isinstance(rope, Mapping):
                yield rope
