"""What processes have parts of, put together in the host's memory, a piece at a time on its way there.

All of it at once on a device would be several times what ZeRO has left there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from adapters.base.spread import size_of, whole

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


def read(weights: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The weights themselves, or on the CPU the whole of what ZeRO 3 has spread. Every process has to ask."""
    part = getattr(weights, "ds_tensor", None)
    if part is None:
        return weights
    count, shape = size_of(weights), weights.ds_shape  # type: ignore[attr-defined]  # DeepSpeed's own
    if part.dtype == weights.dtype and part.numel() * torch.distributed.get_world_size() >= count:
        return whole_of(part, count, device).view(shape)
    with whole([weights]):  # only DeepSpeed can read it: on a disk, or quantised
        return weights.detach().to("cpu", copy=True)


@torch.no_grad()
def exchange(parts: Sequence[torch.Tensor], places_N: torch.Tensor, rows_NP: torch.Tensor) -> torch.Tensor:
    """Put rows into a sheet of these parts, in place of what is returned, on the CPU. Every process has to.

    A part of several rows is the only one.
    """
    before, begin = list[torch.Tensor](), 0
    for part in parts:
        with whole([part], written=True):
            own_KW = part.view(len(part) if len(parts) == 1 else 1, -1)
            before.append(own_KW[places_N].cpu())
            own_KW[places_N] = rows_NP[:, begin : begin + own_KW.shape[1]].to(own_KW)
            begin += own_KW.shape[1]
    return torch.cat(before, dim=1)
