"""Which blocks of a row's attention anything is looked at in, from the ends and depths of nodes alone.

Torch's own way to a block mask writes out all pairs of nodes, some times; this looks at pairs of blocks. One in which
surely nothing is looked at is left out, one in which surely everything is needs no mask, and of all others each pair is
asked. Shapes: B rows, L nodes of the longest row, Q = K blocks of it.
"""

from __future__ import annotations

import torch
from torch.nn.attention.flex_attention import BlockMask

FLEX_BLOCK = 128  # tokens of a block; lengths are rounded up to it, so that few kernels are compiled


def block_mask(end_BL: torch.Tensor, depth_BL: torch.Tensor, window: int | None) -> BlockMask:
    """For rows by the ends and depths of their nodes; their length is a whole number of blocks."""
    rows, length = end_BL.shape
    ends_BKS, depths_BQS = (nodes.view(rows, -1, FLEX_BLOCK) for nodes in (end_BL, depth_BL))
    first_Q = torch.arange(0, length, FLEX_BLOCK, device=end_BL.device)
    before_QK = first_Q[:, None] > first_Q[None, :]
    some_BQK = before_QK & (ends_BKS.amax(2)[:, None, :] > first_Q[:, None])
    all_BQK = before_QK & (ends_BKS.amin(2)[:, None, :] >= first_Q[:, None] + FLEX_BLOCK)
    if window is not None:
        least, most = depths_BQS.amin(2), depths_BQS.amax(2)
        some_BQK &= least[:, :, None] - most[:, None, :] < window
        all_BQK &= most[:, :, None] - least[:, None, :] < window
    some_BQK |= first_Q[:, None] == first_Q[None, :]  # each node sees itself

    def looks(b: torch.Tensor, _: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        allowed = (j <= i) & (i < end_BL[b, j])
        if window is not None:
            allowed = allowed & (depth_BL[b, i] - depth_BL[b, j] < window)
        return allowed | (i == j)  # padding sees itself: no empty softmax

    asked, whole = _listed(some_BQK & ~all_BQK), _listed(all_BQK)
    return BlockMask.from_kv_blocks(*asked, *whole, FLEX_BLOCK, looks, (length, length))


def _listed(blocks_BQK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How many blocks there are of each row of blocks, and their numbers, followed by those of the others."""
    found_B1QK = blocks_BQK[:, None].to(torch.int32)
    numbers_B1QK = found_B1QK.argsort(dim=-1, descending=True, stable=True)
    return found_B1QK.sum(-1, dtype=torch.int32), numbers_B1QK.to(torch.int32)
