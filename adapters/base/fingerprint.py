"""Whether a base is still the base: its modules, what hangs on them, and the bits of its weights.

It is taken once when a base is loaded and compared after whatever may have written to it. A tensor's bits are read as
whole numbers and added up by stretches of 4 kB; each stretch's sum is mixed with its place, and these are added up: one
changed bit, a tensor put in another's place and stretches that change places give another sum. It reads each weight
once, at the speed of memory. Tables that a forward pass may rebuild by itself (buffers that are not saved, such as
rotary frequencies) count by name and shape alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

_ROW = 4096  # bytes
_MIX_1, _MIX_2 = -49064778989728563, -4265267296055464877  # odd, and without a pattern in their bits
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Fingerprint:
    """Of a base: what it is made of, where its weights lie in memory, and `sums` [weights] of what they hold."""

    modules: tuple[object, ...]
    places: Mapping[str, int]
    sums: torch.Tensor


def fingerprint(base: nn.Module) -> Fingerprint:
    """Take it. On a GPU nothing is waited for."""
    return Fingerprint(_modules(base), _places(base), _sums(base))


def changed(base: nn.Module, since: Fingerprint, read: bool = True) -> str | None:
    """What of a base is no longer as it was; None where all is. Without `read` nothing that was written in place shows.

    Only to read takes time: all else is as quick as walking through the modules.
    """
    modules, places = _modules(base), _places(base)
    if modules != since.modules:
        other = next((now for before, now in zip(since.modules, modules, strict=False) if before != now), None)
        return f"its modules: {'some were added or are gone' if other is None else other}"
    if places != since.places:
        return f"another tensor: {next(iter(dict(places.items() ^ since.places.items())))}"
    if not read or torch.equal(sums := _sums(base), since.sums):  # the one time that a GPU is waited for
        return None
    return f"what is written in {list(places)[int((sums != since.sums).nonzero()[0])]}"


def _places(base: nn.Module) -> dict[str, int]:
    return {name: weight.data_ptr() for name, weight in _weights(base)}


def _sums(base: nn.Module) -> torch.Tensor:
    sums = [_sum(weight) for _, weight in _weights(base)]
    return torch.stack([one.to(sums[0].device) for one in sums])


def _modules(base: nn.Module) -> tuple[object, ...]:
    """Each module, by each of its names: what it is, its hooks, whether it shadows its class, its weights."""
    return tuple(
        (
            name,
            type(module).__qualname__,
            id(module),
            module.training,
            tuple(len(getattr(module, kind)) for kind in _HOOKS),
            "forward" in module.__dict__,
            tuple((key, id(weight)) for key, weight in module._parameters.items()),
            tuple((key, None if buffer is None else tuple(buffer.shape)) for key, buffer in module._buffers.items()),
        )
        for name, module in base.named_modules(remove_duplicate=False)
    )


def _weights(base: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters, each under its first name, and the buffers that are saved with them."""
    yield from base.named_parameters()
    for prefix, module in base.named_modules():
        for key, buffer in module._buffers.items():
            if buffer is not None and key not in module._non_persistent_buffers_set:
                yield f"{prefix}.{key}", buffer


@torch.no_grad()
def _sum(tensor: torch.Tensor) -> torch.Tensor:
    """A whole number that tells what a tensor holds."""
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    whole = len(flat) // _ROW * _ROW
    sums = torch.cat([_row_sums(flat[:whole].view(torch.int64).view(-1, _ROW // 8)), _row_sums(flat[None, whole:])])
    own = torch.arange(1, len(sums) + 1, device=sums.device) * _MIX_1
    return ((own ^ (own >> 29)) * _MIX_2 * (sums ^ (sums >> 31)) + sums).sum()


def _row_sums(bits_RW: torch.Tensor) -> torch.Tensor:
    """Sums [R] of rows of whole numbers; numpy's are several times as fast as torch's on a CPU."""
    if bits_RW.device.type == "cpu":
        return torch.from_numpy(bits_RW.numpy().sum(1, dtype="int64"))
    return bits_RW.sum(1, dtype=torch.int64)
