"""What processes have parts of, put together in the host's memory, a piece at a time on its way there.

All of it at once on a device would be several times what ZeRO has left there.
"""

from __future__ import annotations

import math

import torch

AT_ONCE = 2**26  # numbers of all processes that lie on a device at once: 256 MiB in float32


def whole_of(part: torch.Tensor, count: int, device: torch.device, wanted: bool = True) -> torch.Tensor:
    """On the CPU the `count` numbers of which each process has a part, one after the other; the last may be padded.

    Every process has to ask, and gets nothing where it is not `wanted`. What is sent goes by the `device`.
    """
    flat, size = part.detach().view(-1), torch.distributed.get_world_size()
    if size == 1:
        return flat[:count].to("cpu", copy=True)
    found = torch.empty(size, len(flat) if wanted else 0, dtype=part.dtype)
    own = max(1, AT_ONCE // size)
    for begin in range(0, len(flat), own):
        piece = flat[begin : begin + own].to(device)
        pieces = torch.empty(size, len(piece), dtype=part.dtype, device=device)
        torch.distributed.all_gather_into_tensor(pieces.view(-1), piece)  # a list would be held twice
        if wanted:
            found[:, begin : begin + own] = pieces
    return found.view(-1)[:count]


def where_spread(weights: torch.Tensor, device: torch.device) -> torch.Tensor | None:
    """On the CPU the whole of what ZeRO 3 has spread. Every process has to ask.

    None for what is whole in this process, and for parts that only DeepSpeed can read: on a disk, or quantised.
    """
    part = getattr(weights, "ds_tensor", None)
    if part is None or part.dtype != weights.dtype:
        return None
    count = math.prod(weights.ds_shape)  # type: ignore[attr-defined]  # DeepSpeed's own
    if part.numel() * torch.distributed.get_world_size() < count:
        return None
    return whole_of(part, count, device).view(weights.ds_shape)  # type: ignore[attr-defined]
