"""Attention masks of rows that branch: a node looks at itself and its ancestors, the near ones where there is a window.

Node j is node i or one of its ancestors exactly when j <= i < end[j]; how far apart they are is the difference of their
depths. Short rows get a dense mask. On a GPU long ones get a block mask, by which FlexAttention leaves out the blocks
that nobody looks at: the half above the diagonal, and other options' tokens. They lie where the input does, so a base
that is split over GPUs gets dense ones.

Shapes: B rows, L nodes of the longest row.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention.flex_attention import BlockMask
from transformers import PreTrainedModel

from adapters.splitting.split import devices_of
from evaluators.forward.blocks import FLEX_BLOCK, block_mask

log = logging.getLogger(__name__)

FLEX_TOKENS = 1024  # from this length on attention costs enough for its kernel to matter
FLASH = "flash_attention_2"  # takes no mask of its own: rows that branch are left to torch's kernels
FLEX_KERNELS = 64  # that torch may compile for batches of different shapes, before it would leave compiling

Mask = torch.Tensor | BlockMask
_without_flex: list[str] = []  # why this process does without, if it does


class Masks:
    """Masks as one model takes them. `flex_from` is the length from which on it gets block masks, None for never.

    `attention` is what is asked for, if anything is: with eager all is written out. What has no sdpa is eager unasked.
    """

    def __init__(self, model: PreTrainedModel, attention: str | None = None) -> None:
        config = model.config.get_text_config()
        self._model = model
        self._window: int | None = getattr(config, "sliding_window", None)
        self._layer_kinds = frozenset(getattr(config, "layer_types", None) or ())
        flex = model.device.type == "cuda" and len(devices_of(model)) == 1 and not _without_flex
        flex &= attention != "eager"
        self.flex_from: int | None = FLEX_TOKENS if flex and getattr(model, "_supports_flex_attn", False) else None
        if self.flex_from is not None:
            torch._dynamo.config.recompile_limit = FLEX_KERNELS
            torch._dynamo.config.fail_on_recompile_limit_hit = True  # or it would write out all pairs, without a word

    def padded(self, length: int) -> int:
        """The length to which rows are filled up whose longest has `length` nodes."""
        return -(-length // FLEX_BLOCK) * FLEX_BLOCK if self.flexes(length) else length

    @contextmanager
    def attention(self, length: int) -> Iterator[None]:
        """Within, the model computes attention by the kernel that takes the mask of rows of this length."""
        if not self.flexes(length) and self._model.config._attn_implementation != FLASH:
            yield
            return
        before = self._model.config._attn_implementation
        self._model.set_attn_implementation("flex_attention" if self.flexes(length) else "sdpa")
        try:
            yield
        finally:
            self._model.set_attn_implementation(before)

    @contextmanager
    def dense(self) -> Iterator[None]:
        """Within, all rows get dense masks."""
        before, self.flex_from = self.flex_from, None
        try:
            yield
        finally:
            self.flex_from = before

    def leave_flex(self, reason: str) -> None:
        """Give all rows dense masks from now on, in this process: block masks have failed. It is told once."""
        self.flex_from = None
        if not _without_flex:
            log.error(
                "FlexAttention does not run on this machine (%s). All prompts are scored with dense masks: the "
                "same scores, slower and with more memory where prompts are long. It needs Triton, a C compiler (gcc) "
                "and Python's headers: install them, and start the study again",
                " ".join(reason.split())[:300],
            )
            _without_flex.append(reason)

    def of(self, end_BL: torch.Tensor, depth_BL: torch.Tensor) -> Mask | dict[str, Mask]:
        """The mask for rows by the ends and depths of their nodes, zeros where they are filled up.

        A model that mixes windowed and full layers takes one mask for each kind.
        """
        make = block_mask if self.flexes(end_BL.shape[1]) else self._dense
        if "sliding_attention" in self._layer_kinds:
            return {
                "full_attention": make(end_BL, depth_BL, None),
                "sliding_attention": make(end_BL, depth_BL, self._window),
            }
        return make(end_BL, depth_BL, None if self._layer_kinds else self._window)

    def flexes(self, length: int) -> bool:
        """Whether rows of this length get block masks."""
        return self.flex_from is not None and length >= self.flex_from

    def _dense(self, end_BL: torch.Tensor, depth_BL: torch.Tensor, window: int | None) -> torch.Tensor:
        """[B, 1, L, L]: bool where the model's kernel takes it, else what is added to the scores."""
        node_L = torch.arange(end_BL.shape[1], device=end_BL.device)
        allowed = (node_L[None, None, :] <= node_L[None, :, None]) & (node_L[None, :, None] < end_BL[:, None, :])
        if window is not None:
            allowed &= depth_BL[:, :, None] - depth_BL[:, None, :] < window
        allowed |= torch.eye(len(node_L), dtype=torch.bool, device=end_BL.device)  # padding sees itself, as above
        mask_B1LL = allowed[:, None]
        if self._model.config.get_text_config()._attn_implementation in ("sdpa", FLASH):
            return mask_B1LL
        lowest, dtype = torch.finfo(self._model.dtype).min, self._model.dtype
        return torch.zeros(mask_B1LL.shape, dtype=dtype, device=end_BL.device).masked_fill(~mask_B1LL, lowest)
