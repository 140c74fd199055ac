"""What a process asks of a GPU: numbers of the host without waiting for it, and no more memory than its share.

A copy from ordinary memory to a GPU waits for all that was asked of it before; one from pinned memory takes its turn.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

_share = 1.0  # of each GPU that this process may take
_texts_in_rows = False


def on_device(
    numbers: Sequence[float] | Sequence[bool], device: torch.device, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """A tensor of these numbers; without a type as torch takes Python's numbers."""
    return uploaded(torch.tensor(numbers, dtype=dtype), device)


def uploaded(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on the device."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def read_no_texts() -> None:
    """Have transformers take texts without a mask for what they are: on a GPU it would wait to look at each batch.

    It looks whether several texts stand in a row, which `texts_in_rows` tells, and whether to warn of padding; for
    flash-attn it would look at a single row anew in every layer.
    """
    from transformers import PreTrainedModel, masking_utils, modeling_flash_attention_utils

    PreTrainedModel.warn_if_padding_and_no_attention_mask = _nothing  # type: ignore[method-assign]
    looked = (masking_utils, "find_packed_sequence_indices"), (modeling_flash_attention_utils, "_is_packed_sequence")
    for module, name in looked:
        if (found := getattr(module, name)).__module__ != __name__:
            setattr(module, name, _told(found))


@contextmanager
def texts_in_rows(are_there: bool) -> Iterator[None]:
    """Within, several texts may stand in a row where `are_there`: masks keep them apart, by position_ids."""
    global _texts_in_rows
    before, _texts_in_rows = _texts_in_rows, are_there
    try:
        yield
    finally:
        _texts_in_rows = before


def _told(found: Callable[..., object]) -> Callable[..., object]:
    def asked(position_ids: torch.Tensor | None, *more: object) -> object:
        if position_ids is None or position_ids.device.type == "cpu":
            return found(position_ids, *more)
        return _texts(position_ids) if _texts_in_rows else None

    return asked


def _texts(positions_BT: torch.Tensor) -> torch.Tensor:
    """The number of each token's text in its row: another one begins where positions do not go on."""
    return (torch.diff(positions_BT, prepend=positions_BT[:, :1] - 1) != 1).cumsum(-1)


def _nothing(*_: object) -> None: ...


def keep_to(share: float) -> None:
    """Have this process take no more than a share of a GPU's memory, at most 1: more is an out-of-memory."""
    global _share
    before, _share = _share, share
    if _share != before and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(_share)


def room(device: torch.device) -> int:
    """Bytes of a GPU that this process may still take."""
    free, total = torch.cuda.mem_get_info(device)
    return int(max(0, min(free, _share * total - torch.cuda.memory_reserved(device))))


def empty_cache() -> None:
    """Give back what nothing holds. An error that is being handled still holds all that its functions had."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
