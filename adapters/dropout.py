"""Dropout whose mask is a function of a key per row, the module, the token's position and the feature, of nothing else.

So a row's mask is the same whichever rows stand beside it, however it is padded, and on whichever process or device it
is computed; a recomputed forward pass (gradient checkpointing) draws the same mask again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit number
_MIX_1, _MIX_2 = -4658895280553007687, -7723592293110705685  # 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@dataclass(frozen=True)
class Dropout:
    """Drop with probability `p`; keys [B] (int64) name the random stream of each row."""

    p: float
    keys: torch.Tensor

    def __call__(self, x_BTI: torch.Tensor, module: int) -> torch.Tensor:
        """x with elements zeroed and the rest scaled by 1 / (1 - p). `module` is a number that names the module."""
        stream = torch.tensor(module, device=self.keys.device) * _MIX_1  # wraps around, as a Python number would not
        keep = mask(self.keys + stream, x_BTI.shape[1], x_BTI.shape[2], self.p)
        return x_BTI * keep.to(x_BTI.dtype).div_(1 - self.p)


def mask(keys: torch.Tensor, tokens: int, features: int, p: float) -> torch.Tensor:
    """Which elements stay: bool [B, tokens, features], False with probability p (to 2**-32).

    The element's number in its row, times an odd constant, plus the row's mixed key goes through the finaliser of
    splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
    """
    position = torch.arange(tokens, device=keys.device)[:, None]
    feature = torch.arange(features, device=keys.device)
    number = (position << 32 | feature) * _GOLDEN
    bits = _mix(_mix(keys * _GOLDEN)[:, None, None] + number)
    return (bits >> 32 & 0xFFFFFFFF) >= int(p * 2**32)


def _mix(z: torch.Tensor) -> torch.Tensor:
    """splitmix64's finaliser; torch shifts the sign in, so the bits that a logical shift would clear are cleared."""
    z = (z ^ (z >> 30 & (1 << 34) - 1)).mul_(_MIX_1)
    z = (z ^ (z >> 27 & (1 << 37) - 1)).mul_(_MIX_2)
    return z ^ (z >> 31 & (1 << 33) - 1)
