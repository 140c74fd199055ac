"""Dropout whose mask is a function of a key per row, the module, the token's position and the feature, of nothing else.

So a row's mask is the same whichever rows stand beside it, however it is padded, and on whichever process or device it
is computed; a recomputed forward pass (gradient checkpointing) draws the same mask again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit number
_MIX_1, _MIX_2 = -4658895280553007687, -7723592293110705685  # 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
AT_ONCE = 2**24  # numbers of a mask that are made together: 128 MiB each time that they are written


@dataclass(frozen=True)
class Dropout:
    """Drop with probability `p`; keys [B] (int64) name the random stream of each row.

    Where texts share rows, keys [B, T] name that of each token, and `places` [B, T] where in its text it stands.
    """

    p: float
    keys: torch.Tensor
    places: torch.Tensor | None = None

    def __call__(self, x_BTI: torch.Tensor, module: int) -> torch.Tensor:
        """x with elements zeroed and the rest scaled by 1 / (1 - p). `module` is a number that names the module."""
        stream = (module * _MIX_1 + 2**63) % 2**64 - 2**63  # wraps around, as 64 bits do
        keep = mask(self.keys + stream, x_BTI.shape[1], x_BTI.shape[2], self.p, self.places)
        return x_BTI * keep.to(x_BTI.dtype).div_(1 - self.p)


def mask(keys: torch.Tensor, tokens: int, features: int, p: float, places: torch.Tensor | None = None) -> torch.Tensor:
    """Which elements stay: bool [B, tokens, features], False with probability p (to 2**-32).

    The element's number in its row, times an odd constant, plus the row's mixed key goes through the finaliser of
    splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"). Its 64-bit numbers take
    eight times as much room as the mask, and some of them at once: they are made for a part of the tokens at a time.
    """
    position = (torch.arange(tokens, device=keys.device)[None] if places is None else places)[..., None]
    feature = torch.arange(features, device=keys.device)
    rows = _mix(keys * _GOLDEN).view(len(keys), -1, 1).expand(-1, tokens, -1)
    keep = torch.empty(len(keys), tokens, features, dtype=torch.bool, device=keys.device)
    some = max(1, AT_ONCE // max(1, len(keys) * features))
    for part in (slice(first, first + some) for first in range(0, tokens, some)):
        bits = _mix(rows[:, part] + (position[:, part] << 32 | feature) * _GOLDEN)
        torch.ge(bits >> 32 & 0xFFFFFFFF, int(p * 2**32), out=keep[:, part])
    return keep


def _mix(z: torch.Tensor) -> torch.Tensor:
    """splitmix64's finaliser; torch shifts the sign in, so the bits that a logical shift would clear are cleared."""
    z = (z ^ (z >> 30 & (1 << 34) - 1)).mul_(_MIX_1)
    z = (z ^ (z >> 27 & (1 << 37) - 1)).mul_(_MIX_2)
    return z ^ (z >> 31 & (1 << 33) - 1)
